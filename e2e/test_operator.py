"""The operator as those who run it see it: metrics, health, logs, Events."""

from __future__ import annotations

import json

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


def test_logs_are_structured_and_hold_no_secret(federation: Federation, name: str) -> None:
    federation.submit(name, OWNERS[:2], rounds=1)
    federation.wait(name, "Complete")
    lines = federation.kube.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--tail=500").splitlines()
    assert lines
    assert all("event" in json.loads(line) for line in lines)
    assert not [line for line in lines if "PRIVATE KEY" in line or "eyJhbGciOi" in line]


def test_events_tell_the_story(federation: Federation, name: str) -> None:
    federation.submit(name, OWNERS[:2], rounds=3)
    federation.wait(name, "Complete")
    story = federation.kube.run("describe", "federatedjob", name, "-n", COORDINATOR)
    for reason in ("Accepted", "Started", "Complete"):
        assert reason in story
    assert "PRIVATE KEY" not in story


def test_explain_describes_the_fields(installed: Kube) -> None:
    text = installed.run("explain", "federatedjob.spec.onDropout")
    assert "quorum" in text
