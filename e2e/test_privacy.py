"""Private jobs on a cluster: what owners see and pay, what is refused, and what faults may not change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.cluster.backend import Cluster
from e2e.harness import faults
from e2e.harness.federation import OPERATOR_NAMESPACE, Federation, completed, participant_status
from e2e.harness.install import Image
from e2e.harness.kube import Kube, Object, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.private import Populations, populations
from e2e.harness.session import OWNERS
from hanse.api.names import CERTIFICATE_KEY, ROLE_CERTIFICATE

TWO = OWNERS[:2]
#: Epsilon of each population: the tests do not pay from each other's.
BUDGETS = {"paid": "4.0", "many": "8.0", "faults": "9.0", "hostile": "50.0"}
SLOW = {"config": {"fail": "slow", "seconds": "1"}}
SMALLER: Object = {"compression": {"quantizationBits": 15, "sparsity": {"fraction": "0.5"}, "errorFeedback": True}}
ROUNDS = 12


@pytest.fixture(scope="module")
def people(
    installed: Kube, images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Populations]:
    """Two owners with a few populations each."""
    scratch = tmp_path_factory.mktemp("people")
    made = populations(installed, TWO, BUDGETS, images["trainer-cpu"].ref, scratch)
    yield made
    made.remove()


def population(people: Populations, name: str) -> str:
    """Its name in this session."""
    return next(each for each in people.names if each.startswith(f"{name}-"))


def row(kube: Kube, *args: str) -> dict[str, str]:
    """The one row that `kubectl get` shows."""
    header, line = kube.run("get", *args).splitlines()
    return dict(zip(header.split(), line.split(), strict=True))


def released(status: Object) -> list[str]:
    """Slots of all open accounts."""
    return sorted(slot for account in status.get("accounts", {}).values() for slot in account.get("releases", {}))


def spent(status: Object) -> float:
    """Epsilon."""
    return float(status["spent"]["epsilon"])


def test_a_private_job_is_paid_and_shown(
    federation: Federation, people: Populations, name: str, tmp_path: Path
) -> None:
    """Every place where a person looks says the same; a second job that is too dear starts nothing."""
    kube, budget = federation.kube, population(people, "paid")
    evaluation = {"evaluation": {"epsilonShare": "0.2", "everyRounds": 2}}
    people.submit(federation, name, budget, {"epsilon": "3.0", **evaluation}, rounds=6, app=SLOW, **SMALLER)
    wait_until("it is reserved", lambda: float(people.columns(budget, TWO[0])["RESERVED"]) > 0, every=0.1)
    only_the_gate_has_a_token(federation, name)
    job = federation.wait(name, "Complete")
    assert completed(job) == 6
    assert [r for r in job["status"]["rounds"] if r.get("missing")] == []
    assert all(r["bytes"] > 0 for r in job["status"]["rounds"])
    for owner in TWO:
        status = people.settled(budget, owner)
        assert 2.9 <= spent(status) <= 3.0
        assert status["entries"] == 6 + 3, "six updates, three evaluations"
        columns = people.columns(budget, owner)
        assert (columns["TOTAL"], columns["SPENT"], columns["RESERVED"]) == ("4.0", status["spent"]["epsilon"], "0")
        assert 0 < float(columns["LEFT"]) < 3
        epsilon = federation.participation(name, owner)["status"]["epsilon"]
        assert epsilon["spent"] == epsilon["reserved"] == status["spent"]["epsilon"]
        page = kube.list("configmaps", owner, "hanse.dev/role=ledger-page")
        assert [p for p in page if budget in p["metadata"]["name"]], "the account has left for a page"
        certificate_holds(federation, people, name, owner, tmp_path)
    columns = row(kube, "fj", name, "-n", COORDINATOR)
    assert columns["EPSILON"] == "3.0/3.0"
    # Ten records under a whole silo's noise: counts that it outweighs give no metric, in any of the three evaluations.
    shown = "auc=", "accuracy=", "loss="
    assert columns["METRIC"].startswith(shown if any(r.get("metrics") for r in job["status"]["rounds"]) else "-"), (
        columns
    )
    too_dear_starts_nothing(federation, people, f"{name}-b", budget)


def only_the_gate_has_a_token(federation: Federation, name: str) -> None:
    """The projected token and the identity key are mounted into one container, and nobody else finds them."""
    pod = federation.client_pod(name, TWO[0])
    spec, meta = pod["spec"], pod["metadata"]
    assert spec["automountServiceAccountToken"] is False
    secret = {v["name"] for v in spec["volumes"] if "projected" in v or "secret" in v}
    holders = {
        container["name"]
        for container in spec["containers"] + spec["initContainers"]
        if secret & {m["name"] for m in container["volumeMounts"]}
    }
    assert holders == {"gate"}
    gate = federation.kube.exec(meta["name"], meta["namespace"], "gate", "ls", "/var/run/secrets/hanse.dev/ledger")
    assert "token" in gate.split(), "the search does find it where it is"
    places = ["/var/run/secrets", "/run/secrets", "/etc/hanse", "/var/lib/hanse-initial"]
    look = ["sh", "-c", f"find {' '.join(places)} -type f -o -type l 2>/dev/null || true"]
    found = federation.kube.exec(meta["name"], meta["namespace"], "trainer", *look).split()
    assert {path.split("/")[3] for path in found} == {"config"}, found


def certificate_holds(federation: Federation, people: Populations, name: str, owner: str, directory: Path) -> None:
    """The owner's certificate is checked offline, with the key that its Participant shows; a forged one is not."""
    kube = federation.kube
    selector = f"hanse.dev/role={ROLE_CERTIFICATE},hanse.dev/job={name}"
    (found,) = kube.list("configmaps", owner, selector)
    public_key = directory / "owner.pem"
    public_key.write_text(kube.get("participant", people.participant, owner)["status"]["identity"])
    text = found["data"][CERTIFICATE_KEY]
    assert verify(directory, text, public_key).returncode == 0
    forged = json.loads(text)
    forged["certificate"]["epsilons"][0]["epsilon"] = "0.1"
    assert verify(directory, json.dumps(forged), public_key).returncode != 0


def verify(directory: Path, certificate: str, public_key: Path) -> subprocess.CompletedProcess[str]:
    """hanse certificate verify; without a cluster."""
    file = directory / "certificate.json"
    file.write_text(certificate)
    hanse = Path(sys.executable).with_name("hanse")
    command = [str(hanse), "certificate", "verify", str(file), "--public-key", str(public_key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done


def too_dear_starts_nothing(federation: Federation, people: Populations, name: str, budget: str) -> None:
    """Refused with the clause and what is left; nothing of it is in any namespace, and nothing stays reserved."""
    people.submit(federation, name, budget, {"epsilon": "3.0"})
    found = federation.wait_reason(name, "Accepted", "BudgetExceeded")
    assert found["status"] == "False"
    told = federation.kube.run("describe", "fj", name, "-n", COORDINATOR)
    left = people.columns(budget, TWO[0])["LEFT"]
    assert "BudgetExceeded" in told
    assert f"{TWO[0]}/{budget}" in told
    assert f"left is {float(left):.3g} of 4" in told
    assert federation.leftovers(federation.uid(name)) == []
    for owner in TWO:
        assert float(people.settled(budget, owner)["reserved"]["epsilon"]) == 0


def test_a_budget_that_is_made_anew_knows_what_was_spent(
    federation: Federation, people: Populations, name: str
) -> None:
    """Five jobs of epsilon 1 cost 2.42, not 5; deleting the budget does not bring anything back."""
    kube, budget, owner = federation.kube, population(people, "many"), TWO[0]
    jobs = [f"{name}-{number}" for number in range(5)]
    for each in jobs:
        people.submit(federation, each, budget, {"epsilon": "1.0"}, owners=1, rounds=1)
    for each in jobs:
        federation.wait(each, "Complete")
    before = people.settled(budget, owner)
    assert abs(spent(before) - 2.42) <= 0.01
    kube.delete("privacybudget", budget, owner)
    people.make_budget(budget, owner, BUDGETS["many"])
    after = wait_until("the budget remembers", lambda: people.status(budget, owner).get("spent"), timeout=60)
    assert float(after["epsilon"]) >= spent(before)
    people.submit(federation, f"{name}-dear", budget, {"epsilon": "7.5"}, owners=1, rounds=1)
    federation.wait_reason(f"{name}-dear", "Accepted", "BudgetExceeded")


def test_faults_never_lower_what_was_spent(
    federation: Federation, people: Populations, cluster: Cluster, name: str
) -> None:
    """The server, a gate and the operator are killed: the job completes, and each round is paid once."""
    kube, budget = federation.kube, population(people, "faults")
    people.submit(federation, name, budget, {"epsilon": "2.0"}, rounds=ROUNDS, quorum=1, app=SLOW)
    federation.wait_round(name, 2)
    before = {owner: released(people.status(budget, owner)) for owner in TWO}
    assert all(len(slots) >= 2 for slots in before.values()), before
    # The next server asks for rounds again that its checkpoint does not have: the same bytes are the answer.
    faults.kill(cluster, federation.server_pod(name), "hanse.runtime.server")
    federation.wait_round(name, 4)
    faults.kill(cluster, federation.client_pod(name, TWO[0]), "hanse.runtime.gate")
    kube.run(
        "delete", "pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=hanse", "--force", "--grace-period=0"
    )
    job = federation.wait(name, "Complete", timeout=240)
    assert completed(job) == ROUNDS
    for owner in TWO:
        status = people.settled(budget, owner)
        assert ROUNDS - 1 <= status["entries"] <= ROUNDS, "one attempt for each round; a killed gate may miss one"
        assert participant_status(job, owner)["roundsContributed"] <= status["entries"], "paid before it leaves"
        assert spent(status) <= 2.0
        assert status["pages"] == 1


def test_a_deleted_job_stays_charged(federation: Federation, people: Populations, name: str) -> None:
    """What it released counts; the rest comes back when its lease is over, not before."""
    kube, budget, owner = federation.kube, population(people, "faults"), TWO[0]
    known = spent(people.status(budget, owner)) if people.status(budget, owner).get("spent") else 0.0
    people.submit(federation, name, budget, {"epsilon": "2.0"}, owners=1, rounds=40, app=SLOW)
    federation.wait_round(name, 3)
    federation.delete(name)
    open_still = people.status(budget, owner)
    slots = released(open_still)
    assert len(slots) >= 3
    assert float(open_still["reserved"]["epsilon"]) > 0, "its gate may still be somewhere"
    # The lease has ten minutes and its margin one: the test lets them pass by moving its end.
    (account,) = open_still["accounts"]
    over = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    change = {"status": {"accounts": {account: {"leaseUntil": over}}}}
    kube.patch("privacybudget", budget, owner, change, subresource="status")
    settled = people.settled(budget, owner)
    assert settled["reserved"]["epsilon"] == "0"
    assert settled["entries"] - open_still["entries"] == 0
    assert known < spent(settled) < known + 2.0


HOSTILE = {
    "nan-update": "NonFiniteUpdate",
    "wrong-shape": "UpdateMismatch",
    "extra-record": "NotAllowedInReply",
    "nan-metric": "NonFiniteMetric",
}


def test_a_hostile_app_is_stopped_by_a_code(federation: Federation, people: Populations, name: str) -> None:
    """Of four apps that misbehave at one owner in round 2, nothing leaves; the other's round goes on."""
    budget = population(people, "hostile")
    for fault in HOSTILE:
        config = {"fail": fault, "fail-participant": "1", "fail-round": "2"}
        people.submit(
            federation, f"{name}-{fault}", budget, {"epsilon": "1.0"}, rounds=3, quorum=1, app={"config": config}
        )
    for fault, reason in HOSTILE.items():
        job = federation.wait(f"{name}-{fault}", "Complete")
        assert completed(job) == 3
        second = next(r for r in job["status"]["rounds"] if r["number"] == 2)
        assert second["missing"] == [TWO[1]], fault
        assert second["reasons"] == {TWO[1]: reason}
    entries = {owner: people.settled(budget, owner)["entries"] for owner in TWO}
    assert entries == {TWO[0]: 3 * len(HOSTILE), TWO[1]: 2 * len(HOSTILE)}, "what is refused is not charged"
