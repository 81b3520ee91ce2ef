"""The operator as those who run it see it: metrics, health, logs, Events."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.cluster.backend import Cluster
from e2e.harness import faults
from e2e.harness.federation import OPERATOR_NAMESPACE, Federation
from e2e.harness.kube import Kube, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS


def fetch(kube: Kube, port: int, path: str) -> str:
    """GET a path of the operator's pod through the API server."""
    pods = kube.list("pods", OPERATOR_NAMESPACE, "app.kubernetes.io/name=hanse")
    running = next(p["metadata"]["name"] for p in pods if p["status"]["phase"] == "Running")
    return kube.run("get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{running}:{port}/proxy{path}")


def test_metrics_count_the_jobs(federation: Federation, name: str) -> None:
    federation.submit(name, OWNERS[:2], rounds=1)
    federation.wait(name, "Complete")
    wait_until(
        "the completed job is counted",
        lambda: [
            line
            for line in fetch(federation.kube, 8080, "/metrics").splitlines()
            if line.startswith("hanse_federated_jobs{") and "Complete" in line and float(line.split()[-1]) >= 1
        ],
        timeout=90,
    )


def test_healthz_answers(installed: Kube) -> None:
    assert fetch(installed, 8081, "/healthz")


def test_logs_are_structured(installed: Kube) -> None:
    lines = installed.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator").splitlines()
    assert lines
    assert all("event" in json.loads(line) for line in lines)


def test_no_log_holds_a_secret(federation: Federation, cluster: Cluster, name: str) -> None:
    """Every container of every pod, of a job whose app raises and whose gate is killed: tracebacks are logged too."""
    kube = federation.kube
    app = {"config": {"fail": "exception", "fail-participant": "1", "fail-round": "2"}}
    federation.submit(name, OWNERS[:2], rounds=60, quorum=1, app=app)
    federation.wait_round(name, 1)
    faults.kill(cluster, federation.client_pod(name, OWNERS[0]), "hanse.runtime.gate")
    federation.wait(name, "Complete", timeout=240)
    hidden = secrets(kube, federation.uid(name))
    logs = {"operator": kube.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator")}
    for pod in kube.list("pods", selector=f"hanse.dev/job={name}"):
        meta, statuses = pod["metadata"], pod["status"]
        for status in [*statuses["containerStatuses"], *statuses["initContainerStatuses"]]:
            where = f"{meta['namespace']}/{meta['name']}/{status['name']}"
            logs[where] = kube.logs(meta["name"], meta["namespace"], status["name"])
            if status["restartCount"]:
                logs[f"{where} before"] = kube.run(
                    "logs", meta["name"], "-n", meta["namespace"], "-c", status["name"], "--previous", check=False
                )
    containers = {where.split("/")[2] for where in logs if "/" in where}
    assert {"front", "superlink", "launcher", "gate", "trainer", "app-check"} <= containers
    assert sum(1 for text in logs.values() if text) > len(containers) / 2, "there is something to search"
    found = {(where, what) for where, text in logs.items() for what, needle in hidden if needle in text}
    assert found == set()


def secrets(kube: Kube, uid: str) -> list[tuple[str, str]]:
    """What no log may hold, with a name for each: the job's private keys in every way that a log might show them."""
    hidden = [("a private key", "PRIVATE KEY"), ("a token", "eyJhbGciOi")]
    kinds = set()
    for secret in kube.list("secrets", selector=f"hanse.dev/job-uid={uid}"):
        for key in {"tls.key", "node.key"} & secret["data"].keys():
            pem = base64.b64decode(secret["data"][key]).decode()
            name = f"{key} of {secret['metadata']['namespace']}/{secret['metadata']['name']}"
            hidden += [(name, form) for form in forms(pem, secret["data"][key])]
            kinds.add((secret["metadata"]["namespace"] == OPERATOR_NAMESPACE, key))
    assert kinds == {(True, "tls.key"), (False, "tls.key"), (False, "node.key")}, "CA, server, clients"
    return hidden


def forms(pem: str, encoded: str) -> list[str]:
    """A private key as text: lines of its PEM, the Secret's base64, its number as hexadecimal, decimal and base64."""
    private = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    number = private.private_numbers().private_value
    raw = number.to_bytes((private.key_size + 7) // 8, "big")
    lines = [line for line in pem.splitlines() if line and not line.startswith("-")]
    return [*lines, encoded[80:140], raw.hex(), str(number), base64.b64encode(raw).decode(), str(raw)[2:-1]]


def test_events_tell_the_story(federation: Federation, name: str) -> None:
    federation.submit(name, OWNERS[:2], rounds=3)
    federation.wait(name, "Complete")
    story = federation.kube.run("describe", "federatedjob", name, "-n", COORDINATOR)
    for reason in ("Accepted", "Started", "Complete"):
        assert reason in story
    assert "PRIVATE KEY" not in story
    rows = wait_until("both clients are done", lambda: done_rows(federation.kube, name), timeout=60)
    assert len(rows) == 2


def done_rows(kube: Kube, name: str) -> list[str]:
    """What `kubectl get participations` prints of the job once it says of each that it is done."""
    rows = [row for row in kube.run("get", "participations", "-A").splitlines() if f" {name} " in row]
    return rows if rows and all("Completed" in row for row in rows) else []


def test_explain_describes_the_fields(installed: Kube) -> None:
    text = installed.run("explain", "federatedjob.spec.onDropout")
    assert "quorum" in text
