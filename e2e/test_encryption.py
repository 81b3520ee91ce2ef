"""Encrypted jobs on a cluster: what is shown, what kills may not change, and that the server has nothing to read."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator

import pytest

from e2e.cluster.backend import Cluster
from e2e.harness import faults
from e2e.harness.federation import Federation, completed, participant_status
from e2e.harness.install import Image
from e2e.harness.kube import Kube, Object, condition, wait_until
from e2e.harness.logs import collect, forms_of_bytes, forms_of_key
from e2e.harness.private import Populations, populations
from e2e.harness.session import OWNERS

BUDGETS = {"shown": "40.0", "faults": "40.0"}
#: Silo, every update counted against server plus one participant: the share alone.
DISTRIBUTED: Object = {"epsilon": "4.0", "mechanism": "Distributed"}
ENCRYPTION: Object = {"encryption": {"scheme": "BFV", "keyMaker": OWNERS[0]}}
SLOW: Object = {"config": {"fail": "slow", "seconds": "1"}}
ROUNDS = 12
EQUAL: Object = {"weights": "Equal"}
SIZE = 4096

#: Runs in a container of the server pod: where it can look, and how often it finds each needle (hex) in a file there.
SEARCH = """
import json, os, pathlib, sys
needles = {name: bytes.fromhex(text) for name, text in json.loads(sys.argv[1]).items()}
roots = ["/etc/hanse", "/var/lib/hanse", "/run/hanse", "/tmp", "/output", "/var/run/secrets", "/dev/shm"]
found = {"files": [], "needles": {}, "variables": sorted(os.environ)}
for path in (p for root in roots for p in pathlib.Path(root).rglob("*")):
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError:
        continue
    found["files"].append(str(path))
    for name, needle in needles.items():
        if needle in data:
            found["needles"].setdefault(name, []).append(str(path))
print(json.dumps(found))
"""

#: Asks the API server for each owner's identity Secret with the one token that the server pod has.
ASK = """
import ssl, sys, urllib.error, urllib.request as u
token = open("/var/run/secrets/hanse.dev/progress/token").read()
for owner in sys.argv[1:]:
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{owner}/secrets/hanse-identity"
    try:
        print(u.urlopen(u.Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=5,
              context=ssl._create_unverified_context()).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@pytest.fixture(scope="module")
def people(
    installed: Kube, images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Populations]:
    """Three owners with a population for each test."""
    made = populations(installed, OWNERS, BUDGETS, images["trainer-cpu"].ref, tmp_path_factory.mktemp("people"))
    yield made
    made.remove()


def population(people: Populations, name: str) -> str:
    """Its name in this session."""
    return next(each for each in people.names if each.startswith(f"{name}-"))


def test_status_says_who_could_read_what(federation: Federation, people: Populations, name: str) -> None:
    """Scheme, maker, fingerprint, holders, and epsilon against each adversary; owners see whom they agreed with."""
    budget = population(people, "shown")
    people.submit(federation, name, budget, DISTRIBUTED, owners=3, encryption=ENCRYPTION, rounds=4, app=SLOW)
    running = federation.wait_reason(name, "KeysReady", "KeysHeld")
    assert running["status"] == "True"
    privacy = federation.wait_round(name, 1)["status"]["privacy"]
    assert (privacy["encryption"], privacy["keyMaker"], privacy["modelRelease"]) == ("BFV", OWNERS[0], "Coordinator")
    assert privacy["keyHolders"] == OWNERS
    assert privacy["keyFingerprint"].startswith("sha256:")
    job = federation.wait(name, "Complete")
    assert completed(job) == 4
    assert job["status"]["privacy"]["keyFingerprint"] == privacy["keyFingerprint"]
    spent = {row["adversary"]: float(row["spent"]) for row in job["status"]["privacy"]["epsilon"]}
    assert spent["Outsiders"] == spent["CollusionThreshold"] <= 4.0
    assert spent["Outsiders"] < spent["OneParticipant"] < spent["ServerAndOne"], (
        "all shares, all but its own, one alone"
    )
    identities = {
        owner: federation.kube.get("participant", people.participant, owner)["status"]["identity"] for owner in OWNERS
    }
    for owner in OWNERS:
        agreed = federation.participation(name, owner)["spec"]["plan"]["encryption"]
        assert {member["name"]: member["identity"] for member in agreed["roster"]} == identities
        ledger = people.settled(budget, owner)
        assert abs(float(ledger["spent"]["epsilon"]) - spent["ServerAndOne"]) < 0.01, "charged by the owner's policy"


def test_kills_change_nothing(federation: Federation, people: Populations, cluster: Cluster, name: str) -> None:
    """The key maker's gate, the gate that verifies and the aggregator, each in the middle of a round."""
    budget = population(people, "faults")
    people.submit(
        federation, name, budget, DISTRIBUTED, owners=3, encryption=ENCRYPTION, rounds=ROUNDS, quorum=2, app=SLOW
    )
    fingerprint = federation.wait_round(name, 2)["status"]["privacy"]["keyFingerprint"]
    faults.kill(cluster, federation.client_pod(name, OWNERS[0]), "hanse.runtime.gate")
    done = completed(federation.wait_round(name, 4))
    # With t = 0 one gate recomputes the sum of the bodies: this one in the round that runs (`agreement.verifiers`).
    faults.kill(cluster, federation.client_pod(name, OWNERS[2 * done % len(OWNERS)]), "hanse.runtime.gate")
    federation.wait_round(name, done + 2)
    faults.kill(cluster, federation.server_pod(name), "hanse.runtime.flower.aggregator")
    job = federation.wait(name, "Complete", timeout=300)
    assert completed(job) == ROUNDS
    privacy = job["status"]["privacy"]
    assert privacy["keyFingerprint"] == fingerprint, "no gate has lost the key"
    assert privacy["keyHolders"] == OWNERS
    for owner in OWNERS:
        status, row = people.settled(budget, owner), participant_status(job, owner)
        assert row["roundsContributed"] <= status["entries"] <= ROUNDS, "paid before it leaves, once for each round"
        assert status["entries"] - row["roundsContributed"] <= 3, "what is paid and not in a model is a kill's"
        assert row["roundsContributed"] >= ROUNDS - 4


def test_a_pod_that_is_replaced_gets_the_key_from_another_holder(
    federation: Federation, people: Populations, name: str
) -> None:
    """The maker's own pod, too: its key went with it."""
    budget = population(people, "faults")
    asked: Object = {**DISTRIBUTED, "epsilon": "2.0"}
    # Rounds enough: the others go on while the pod is replaced, which takes a busy machine a while.
    rounds = 4 * ROUNDS
    people.submit(federation, name, budget, asked, owners=3, encryption=ENCRYPTION, rounds=rounds, quorum=2, app=SLOW)
    before = federation.wait_round(name, 2)["status"]["privacy"]
    pod = federation.client_pod(name, OWNERS[0])["metadata"]
    federation.kube.run("delete", "pod", pod["name"], "-n", OWNERS[0], "--grace-period=0", "--force")
    wait_until(
        "another pod runs",
        lambda: federation.client_pod(name, OWNERS[0])["metadata"]["uid"] != pod["uid"],
        timeout=120,
    )
    job = federation.wait(name, "Complete", timeout=400)
    after = job["status"]["privacy"]
    assert (after["keyFingerprint"], after["keyHolders"]) == (before["keyFingerprint"], OWNERS)
    assert participant_status(job, OWNERS[0])["roundsContributed"] > 6, "more than it can have had before"


def test_a_key_that_nobody_holds_any_more_ends_the_job(federation: Federation, name: str) -> None:
    """All client pods go at once: the sealed checkpoint stays shut, and the reason says so."""
    # The gates may only be away: the server asks so long.
    again: Object = {"startTimeoutSeconds": 60}
    federation.submit(name, OWNERS, rounds=1000, quorum=2, app=SLOW, privacy=ENCRYPTION, aggregation=EQUAL, **again)
    federation.wait_round(name, 2)
    for owner in OWNERS:
        pod = federation.client_pod(name, owner)["metadata"]
        federation.kube.run("delete", "pod", pod["name"], "-n", owner, "--grace-period=0", "--force")
    job = federation.wait(name, "Failed", timeout=300)
    assert condition(job, "Failed")["reason"] == "KeyLost"


def needles() -> dict[str, str]:
    """Eight equal numbers, as they lie in the arrays that the counting app returns in rounds 2 to 4.

    Weights are equal: the model after round r is 2 r everywhere, and participant i returns i + 1 more. Encryption
    rounds to 2^-18 of the range, so its models differ in the last bits; updates are small whole numbers all the same.
    """
    values = {f"round {r} of {i}": 2.0 * (r - 1) + i + 1 for r in (2, 3, 4) for i in range(3)}
    return {
        f"{name} as {code}": struct.pack(f"<8{code}", *[value] * 8).hex()
        for name, value in {**values, **{f"update of {i}": i + 1.0 for i in range(3)}}.items()
        for code in ("f", "d")
    }


def searched(federation: Federation, name: str) -> Object:
    """What the launcher's container finds in all its directories while the job runs."""
    pod = federation.server_pod(name)["metadata"]
    out = federation.kube.exec(
        pod["name"], pod["namespace"], "launcher", "python3", "-c", SEARCH, json.dumps(needles())
    )
    found: Object = json.loads(out.strip().splitlines()[-1])
    return found


def test_nothing_that_is_kept_holds_a_key(federation: Federation, cluster: Cluster, name: str) -> None:
    """No log, also of a gate that is killed and of an app that raises; no object of the API server."""
    kube = federation.kube
    app = {"config": {"fail": "exception", "fail-participant": "1", "fail-round": "2"}}
    federation.submit(name, OWNERS, rounds=60, quorum=2, app=app, privacy=ENCRYPTION, aggregation=EQUAL)
    federation.wait_round(name, 1)
    pod = federation.client_pod(name, OWNERS[0])
    meta = pod["metadata"]
    read = "print(open('/var/lib/hanse/encrypted/job-key', 'rb').read().hex())"
    key = bytes.fromhex(kube.exec(meta["name"], OWNERS[0], "gate", "python3", "-c", read).strip())
    faults.kill(cluster, pod, "hanse.runtime.gate")
    federation.wait(name, "Complete", timeout=240)
    # A key is 64 bytes of seed behind 6 of header (hanse.runtime.he.keys).
    hidden = [("the job's key", form) for form in [*forms_of_bytes(key), *forms_of_bytes(key[6:70])]]
    objects = kube.list("secrets,configmaps,federatedjobs,participations,privacybudgets,events,pods,jobs")
    texts = {f"{o['kind']} {o['metadata']['namespace']}/{o['metadata']['name']}": decoded(o) for o in objects}
    assert {(where, what) for where, text in texts.items() for what, form in hidden if form in text} == set()
    for owner in OWNERS:
        encoded = kube.get("secret", "hanse-identity", owner)["data"]["identity.key"]
        pem = base64.b64decode(encoded).decode()
        assert pem.splitlines()[1] in texts[f"Secret {owner}/hanse-identity"], "the search finds what is there"
        hidden += [(f"identity of {owner}", form) for form in forms_of_key(pem, encoded)]
    logs = collect(kube, name)
    assert {(where, what) for where, text in logs.items() for what, form in hidden if form in text} == set()


def decoded(found: Object) -> str:
    """An object as text, with what a Secret holds in plain beside it."""
    values = (found.get("data") or {}).values() if found["kind"] == "Secret" else ()
    return json.dumps(found) + " ".join(base64.b64decode(v).decode(errors="backslashreplace") for v in values)


@pytest.mark.parametrize("scheme", ["None", "BFV"])
def test_the_servers_disk_holds_no_update_and_no_key(federation: Federation, name: str, scheme: str) -> None:
    """SuperLink's database, checkpoints and scratch: with scheme None the updates are there, with BFV none is."""
    app: Object = {"config": {**SLOW["config"], "size": str(SIZE)}}
    privacy: Object = {"encryption": {"scheme": scheme}}
    federation.submit(name, OWNERS, rounds=1000, app=app, privacy=privacy, aggregation=EQUAL)
    federation.wait_round(name, 4)
    found = searched(federation, name)
    assert any(path.endswith(".db") or "superlink" in path for path in found["files"]), found["files"]
    if scheme == "None":
        assert found["needles"], "the search finds what is there"
    else:
        assert found["needles"] == {}
        no_way_to_a_key(federation, name, found)


def no_way_to_a_key(federation: Federation, name: str, found: Object) -> None:
    """Environment, mounts and API access of the server pod, as the kubelet made them."""
    names = [*found["files"], *found["variables"]]
    assert not [n for n in names if "identity" in n.lower() or "job-key" in n], names
    pod = federation.server_pod(name)
    spec, meta = pod["spec"], pod["metadata"]
    assert spec["automountServiceAccountToken"] is False
    secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    assert len(secrets) == 1, secrets
    (held,) = secrets
    assert set(federation.kube.get("secret", held, meta["namespace"])["data"]) <= {"ca.crt", "tls.crt", "tls.key"}
    # Its one token is for the operator's progress endpoint: the API server takes it for nobody's.
    out = federation.kube.exec(meta["name"], meta["namespace"], "launcher", "python3", "-c", ASK, *OWNERS)
    assert set(out.split()) == {"401"}, out
    holders = [container for container in ("gate", "trainer") if has_key(federation, name, container)]
    assert holders == ["gate"], "the search finds it where it is"


def has_key(federation: Federation, name: str, container: str) -> bool:
    """Whether a file of the job's key can be seen from a container of a client pod."""
    pod = federation.client_pod(name, OWNERS[0])["metadata"]
    look = ["sh", "-c", "find / -path /proc -prune -o -name job-key -print 2>/dev/null || true"]
    return bool(federation.kube.exec(pod["name"], OWNERS[0], container, *look).split())
