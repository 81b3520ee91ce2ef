"""The API server without nodes, and the volume provisioner against it. Needs kube-apiserver and etcd."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import apiserver
from e2e.cluster.kubeapi import ApiError, KubeApi
from e2e.cluster.local import provisioner
from e2e.cluster.paths import repo_root
from e2e.cluster.proc import wait_for


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with apiserver.running() as server:
        yield KubeApi(server.kubeconfig)


def _claim(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def test_two_run_at_a_time_and_do_not_meet(api: KubeApi) -> None:
    with apiserver.running() as other:
        KubeApi(other.kubeconfig).create("/api/v1/namespaces", {"metadata": {"name": "only-here"}})
        assert api.find("/api/v1/namespaces/only-here") is None
        directory = other.directory
    assert not directory.exists()


def test_both_processes_end_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "e2e.cluster.apiserver"], cwd=repo_root(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    ready = json.loads(parent.stdout.readline())
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    assert len(children) == 2
    assert KubeApi(Path(ready["kubeconfig"])).ready()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for("no child left", lambda: not any(_lives(pid) for pid in children), timeout=20)
    subprocess.run(["rm", "-rf", str(Path(ready["kubeconfig"]).parent)], check=True)


def test_a_claim_gets_a_directory_and_a_released_volume_loses_it(api: KubeApi, tmp_path: Path) -> None:
    claims, volumes = "/api/v1/namespaces/default/persistentvolumeclaims", "/api/v1/persistentvolumes"
    made = api.create(claims, _claim("data"))
    name = f"pvc-{made['metadata']['uid']}"
    provisioner.settle(api, tmp_path)
    provisioner.settle(api, tmp_path)  # again, as after a restart: nothing binds here, so the claim still waits
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o777
    assert api.get(f"{volumes}/{name}")["spec"]["claimRef"]["uid"] == made["metadata"]["uid"]

    (tmp_path / name / "kept").write_text("while the claim lives")
    provisioner.settle(api, tmp_path)
    assert (tmp_path / name / "kept").exists()

    # What the controller manager does once the claim is gone.
    api.delete(f"{claims}/data")
    api.merge(f"{volumes}/{name}/status", {"status": {"phase": "Released"}})
    provisioner.settle(api, tmp_path)
    assert not (tmp_path / name).exists()


def test_an_error_of_the_server_names_the_field(api: KubeApi) -> None:
    broken = _claim("broken")
    broken["spec"]["accessModes"] = ["Sometimes"]
    with pytest.raises(ApiError, match="accessModes") as caught:
        api.create("/api/v1/namespaces/default/persistentvolumeclaims", broken)
    assert caught.value.code == 422


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
