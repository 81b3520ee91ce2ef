"""What must not meet, must not stay, must not be reachable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from e2e.cluster import binaries
from e2e.harness import faults, install, objects
from e2e.harness.federation import Federation, completed
from e2e.harness.install import Image
from e2e.harness.kube import Kube, Object, is_true, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OTHERS, OWNERS
from hanse.api.exitcodes import ExitCode

TWO = OWNERS[:2]
SLOW = {"config": {"fail": "slow", "seconds": "0.5"}}

# Runs in the trainer's container, as the researcher's code would: tries all that it should not reach.
PROBE = """
import json, os, pathlib, ssl, socket, sys, urllib.error, urllib.request
found = {"read": 0, "files": [], "env": [], "http": {}}
for root in ("/etc/hanse", "/var/run/secrets", "/run/secrets", "/run/hanse", "/proc/1/environ"):
    for path in [pathlib.Path(root), *pathlib.Path(root).rglob("*")]:
        try:
            text = path.read_bytes()
        except OSError:
            continue
        found["read"] += 1
        if b"PRIVATE KEY" in text or b"eyJhbGciOi" in text:
            found["files"].append(str(path))
found["env"] = [k for k, v in os.environ.items() if "PRIVATE KEY" in v or v.startswith("eyJhbGciOi")]
context = ssl._create_unverified_context()
for address in sys.argv[1:]:
    for path in ("/v1/control/list-runs", "/v1/control/", "/v1/runtime/pull-task", "/v1/runtime/", "/v1/fleet/x"):
        for scheme in ("https", "http"):
            url = f"{scheme}://{address}{path}"
            try:
                found["http"][url] = urllib.request.urlopen(
                    urllib.request.Request(url, data=b""), timeout=3, context=context
                ).status
            except urllib.error.HTTPError as error:
                found["http"][url] = error.code
            except Exception as error:
                found["http"][url] = type(error).__name__
print(json.dumps(found))
"""


def test_two_jobs_sharing_participants_do_not_meet(federation: Federation, name: str) -> None:
    """Side by side in the same namespaces, with different vector sizes: a mix-up would not even fit."""
    other = f"{name}-b"
    federation.submit(name, TWO, rounds=5, app={"config": {"fail": "slow", "seconds": "0.3", "size": "3"}})
    federation.submit(other, TWO, rounds=4, app={"config": {"fail": "slow", "seconds": "0.3", "size": "7"}})
    first = federation.wait(name, "Complete", timeout=240)
    second = federation.wait(other, "Complete", timeout=240)
    assert (completed(first), completed(second)) == (5, 4)
    assert first["status"]["model"]["digest"] != second["status"]["model"]["digest"]
    assert all(r["missing"] == [] for r in first["status"]["rounds"] + second["status"]["rounds"] if "missing" in r)


def test_deleting_a_running_job_leaves_nothing(federation: Federation, name: str) -> None:
    """Every kind, every namespace; `delete` waits for it."""
    federation.submit(name, TWO, rounds=100, app=SLOW)
    federation.wait_round(name, 1)
    uid = federation.uid(name)
    assert federation.leftovers(uid), "the search finds what is there"
    federation.delete(name)
    assert federation.leftovers(uid) == []


@pytest.fixture
def impatient(installed: Kube, images: dict[str, Image]) -> Iterator[None]:
    """Clients of new jobs wait 10 s for a server that is away, instead of 300."""
    helm, values = binaries.ensure(["helm"])["helm"], install.helm_values(images, [*OWNERS, *OTHERS])
    install.install_chart(installed, helm, {**values, "operator": {"serverLostSeconds": 10}})
    yield
    install.install_chart(installed, helm, values)


@pytest.mark.usefixtures("impatient")
def test_deleting_with_the_operator_down(federation: Federation, name: str) -> None:
    """The server goes at once, every client pod ends by itself, the rest goes when the operator is back."""
    kube = federation.kube
    federation.submit(name, TWO, rounds=1000, backoffLimit=1, app=SLOW)
    federation.wait_round(name, 1)
    uid = federation.uid(name)
    with faults.operator_down(kube):
        start = time.monotonic()
        kube.delete("federatedjob", name, COORDINATOR)
        wait_until(
            "the coordinator's side is gone",
            lambda: not [x for x in federation.leftovers(uid) if f" {COORDINATOR}/" in x],
            timeout=90,
        )
        jobs = wait_until("every client Job has ended by itself", lambda: ended_jobs(kube, uid), timeout=300)
        print(f"client pods had ended after {time.monotonic() - start:.0f} s (serverLostSeconds 10, backoffLimit 1)")
        assert {job["metadata"]["namespace"] for job in jobs} == set(TWO)
        assert not faults.operator_pods(kube)
        for pod in kube.list("pods", selector=f"hanse.dev/job-uid={uid}"):
            assert pod["status"]["phase"] == "Failed"
            assert {exit_code(pod, "trainer")} <= {ExitCode.SERVER_LOST, ExitCode.GATE_FAILED}
    back = time.monotonic()
    wait_until("nothing is left", lambda: not federation.leftovers(uid), timeout=150)
    print(f"nothing was left {time.monotonic() - back:.0f} s after the operator's Deployment was scaled up again")


def ended_jobs(kube: Kube, uid: str) -> list[Object]:
    """The clients' batch Jobs of a FederatedJob once all have failed and none has a pod that lives."""
    jobs = kube.list("jobs", selector=f"hanse.dev/job-uid={uid}")
    pods = kube.list("pods", selector=f"hanse.dev/job-uid={uid}")
    alive = [p for p in pods if p["status"]["phase"] not in ("Failed", "Succeeded")]
    return jobs if not alive and all(is_true(job, "Failed") for job in jobs) else []


def exit_code(pod: Object, container: str) -> int:
    """With which a container has ended."""
    status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == container)
    return int(status["state"]["terminated"]["exitCode"])


def test_a_job_made_anew_under_its_old_name_starts_from_nothing(federation: Federation, name: str) -> None:
    """What the first one left takes a moment to go, and is not the second one's server."""
    federation.submit(name, TWO, rounds=2)
    first = federation.wait(name, "Complete")
    federation.kube.delete("federatedjob", name, COORDINATOR, wait=False)
    federation.submit(name, TWO, rounds=4)
    second = federation.wait(name, "Complete")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert completed(second) == 4
    assert second["status"]["round"]["total"] == 4


def test_the_trainer_has_no_key_no_token_and_no_answer_from_the_server(federation: Federation, name: str) -> None:
    """From the trainer's container: no credential in any file or variable, and no answer but 400/403 or silence."""
    federation.submit(name, TWO, rounds=100, app=SLOW)
    federation.wait_round(name, 1)
    client = federation.client_pod(name, TWO[0])["metadata"]
    server_ip = federation.server_pod(name)["status"]["podIP"]
    host = f"{name}-server.{COORDINATOR}.svc"
    addresses = [f"{host}:9443", f"{server_ip}:9443", f"{server_ip}:8000", f"{server_ip}:9444", "127.0.0.1:9094"]
    out = federation.kube.exec(client["name"], client["namespace"], "trainer", "python3", "-c", PROBE, *addresses)
    found = json.loads(out.strip().splitlines()[-1])
    assert found["read"] > 0, "the search did look into files"
    assert found["files"] == []
    assert found["env"] == []
    assert found["http"][f"https://{host}:9443/v1/fleet/x"] == 400, "the front answers, and asks for a certificate"
    # The front refuses (400, 403), its health port has one path (404); SuperLink and Flower's own port do not answer.
    doors = (":9443/", ":9444/")
    answered = {url: got for url, got in found["http"].items() if isinstance(got, int)}
    assert {url for url in answered if not any(door in url for door in doors)} == set()
    assert set(answered.values()) <= {400, 403, 404}, answered
    pod = federation.kube.get("pod", client["name"], client["namespace"])
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_pods_are_restricted_and_images_are_by_digest(federation: Federation, name: str) -> None:
    federation.submit(name, TWO, rounds=100, app=SLOW)
    federation.wait_round(name, 1)
    for pod in federation.kube.list("pods", selector=f"hanse.dev/job={name}"):
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert "@sha256:" in container["image"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_a_claim_of_the_users_own_holds_the_model_and_stays(federation: Federation, name: str) -> None:
    kube = federation.kube
    kube.apply(objects.claim(name, COORDINATOR, "16Mi"))
    federation.submit(name, TWO, rounds=2, output={"claimName": name})
    job = federation.wait(name, "Complete")
    assert job["status"]["model"]["claim"] == name
    assert job["status"]["model"]["path"] == f"{name}/model.safetensors"
    federation.delete(name)
    kept = kube.get("persistentvolumeclaim", name, COORDINATOR)
    assert "deletionTimestamp" not in kept["metadata"]
    kube.delete("persistentvolumeclaim", name, COORDINATOR, wait=False)
