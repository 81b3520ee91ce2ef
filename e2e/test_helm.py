"""The chart: upgrade to other builders and rollback with a job running, its own test, adding an owner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from e2e.cluster import binaries
from e2e.cluster.backend import Cluster
from e2e.harness import install, variant
from e2e.harness.federation import OPERATOR_NAMESPACE, Federation, completed
from e2e.harness.kube import Kube
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

SITE_PACKAGES = "/opt/hanse/lib/python3.13/site-packages"
# Every builder of the next version writes one more variable into every container.
CHANGED_BUILDERS = """

_container_before = container


def container(*args, **kwargs):
    built = _container_before(*args, **kwargs)
    return {**built, "env": [*built["env"], {"name": "HANSE_CHANGED", "value": "yes"}]}
"""


def helm(kube: Kube, *args: str) -> str:
    """Helm's output."""
    done = subprocess.run(
        [str(binaries.ensure(["helm"])["helm"]), *args, "-n", OPERATOR_NAMESPACE],
        capture_output=True,
        text=True,
        env=kube.environment,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def pods(federation: Federation, name: str) -> set[str]:
    """uids of the job's pods."""
    return {p["metadata"]["uid"] for p in federation.kube.list("pods", selector=f"hanse.dev/job={name}")}


def test_upgrade_and_rollback_with_a_job_running_restart_no_pod(
    federation: Federation, cluster: Cluster, images: dict[str, install.Image], name: str, tmp_path: Path
) -> None:
    kube = federation.kube
    federation.submit(name, OWNERS[:2], rounds=60, app={"config": {"fail": "slow", "seconds": "0.5"}})
    federation.wait_round(name, 2)
    before = pods(federation, name)
    newer = variant.with_files(images["operator"], tmp_path / "operator.tar", changed_operator(images["operator"]))
    cluster.load_images([newer.archive])
    install.install_chart(
        kube, binaries.ensure(["helm"])["helm"], install.helm_values({**images, "operator": newer}, OWNERS)
    )
    running = kube.get("deployment", "hanse-operator", OPERATOR_NAMESPACE)
    assert running["spec"]["template"]["spec"]["containers"][0]["image"] == newer.ref
    at = completed(federation.wait_round(name, completed(federation.job(name)) + 2))
    assert pods(federation, name) == before, "the newer operator left the running job's pods alone"
    helm(kube, "rollback", "hanse", "--wait", "--timeout", "180s")
    federation.wait_round(name, at + 2)
    assert pods(federation, name) == before, "so did the older one"
    job = federation.wait(name, "Complete", timeout=300)
    assert completed(job) == 60
    assert sorted(r["number"] for r in job["status"]["rounds"]) == list(range(41, 61)), "the newest 20 rounds"


def changed_operator(image: install.Image) -> dict[str, bytes]:
    """The module that builds pods, with a change in every pod that it builds (and no compiled form of the old one)."""
    source = install.ROOT / "operator" / "hanse" / "controller" / "manifests" / "common.py"
    installed = f"{SITE_PACKAGES}/hanse/controller/manifests"
    return {
        f"{installed}/common.py": source.read_bytes() + CHANGED_BUILDERS.encode(),
        f"{installed}/__pycache__/.wh.common.cpython-313.pyc": b"",
    }


@pytest.mark.timeout(400)
def test_helm_test_runs_a_job_of_two(installed: Kube) -> None:
    out = helm(installed, "test", "hanse", "--timeout", "300s")
    assert "Succeeded" in out


def test_the_operator_cannot_list_secrets(installed: Kube) -> None:
    """RBAC as it is on the cluster: create, get, patch, delete; never list or watch; nothing elsewhere."""
    account = f"system:serviceaccount:{OPERATOR_NAMESPACE}:hanse-operator"

    def can(verb: str, resource: str, namespace: str) -> bool:
        out = installed.run("auth", "can-i", verb, resource, "-n", namespace, f"--as={account}", check=False)
        return out.strip() == "yes"

    for namespace in (COORDINATOR, OWNERS[0], OPERATOR_NAMESPACE):
        assert not can("list", "secrets", namespace)
        assert not can("watch", "secrets", namespace)
    assert can("create", "secrets", OWNERS[0])
    assert can("create", "jobs", OWNERS[0])
    assert not can("create", "jobs", "default")
    assert not can("get", "secrets", "kube-system")
    assert not can("create", "pods", OWNERS[0])
