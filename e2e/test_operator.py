"""The operator as those who run it see it: metrics, health, logs, Events."""

from __future__ import annotations

import base64
import json

from e2e.cluster.backend import Cluster
from e2e.harness import faults
from e2e.harness.federation import OPERATOR_NAMESPACE, Federation
from e2e.harness.kube import Kube, wait_until
from e2e.harness.logs import collect, forms_of_key
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
    logs = collect(kube, name)
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
            hidden += [(name, form) for form in forms_of_key(pem, secret["data"][key])]
            kinds.add((secret["metadata"]["namespace"] == OPERATOR_NAMESPACE, key))
    assert kinds == {(True, "tls.key"), (False, "tls.key"), (False, "node.key")}, "CA, server, clients"
    return hidden


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
