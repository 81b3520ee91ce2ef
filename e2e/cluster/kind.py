"""The `kind` back end: a cluster in Docker containers, through the `kind` program.

Used through `registry.open_cluster`. Thin on purpose: what it runs is built by the functions below, which the
tests compare with kind's documentation.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster import oci
from e2e.cluster.backend import CreateOptions, LoadedImage, Status, repository
from e2e.cluster.errors import MissingRequirement, NotRunning
from e2e.cluster.kubectl import kubectl, patch_gpus
from e2e.cluster.local.images import normalised, parse_list
from e2e.cluster.paths import cache_dir, cluster_dir
from e2e.cluster.proc import run, wait_for


def kind_name(name: str) -> str:
    """kind's clusters share one name space with the user's own."""
    return f"hanse-{name}"


def node_container(name: str) -> str:
    """The container that is the only node."""
    return f"{kind_name(name)}-control-plane"


def create_command(name: str, kubeconfig: Path) -> list[str]:
    """Make a cluster and wait until its node is ready."""
    return ["kind", "create", "cluster", "--name", kind_name(name), "--kubeconfig", str(kubeconfig), "--wait", "120s"]


def delete_command(name: str, kubeconfig: Path) -> list[str]:
    """Remove a cluster; kind says nothing where there is none."""
    return ["kind", "delete", "cluster", "--name", kind_name(name), "--kubeconfig", str(kubeconfig)]


def load_command(name: str, archive: Path) -> list[str]:
    """Bring an archive to every node."""
    return ["kind", "load", "image-archive", str(archive), "--name", kind_name(name)]


def export_logs_command(name: str, target: Path) -> list[str]:
    """Copy all logs out."""
    return ["kind", "export", "logs", str(target), "--name", kind_name(name)]


def exec_command(name: str, argv: Sequence[str]) -> list[str]:
    """Run something on the node."""
    return ["docker", "exec", node_container(name), *argv]


def tag_command(name: str, image: LoadedImage) -> list[str]:
    """Let an image be found by its digest."""
    full = normalised(image.name)
    reference = f"{repository(full)}@{image.digest}"
    return exec_command(name, ["ctr", "--namespace", "k8s.io", "images", "tag", "--force", full, reference])


class KindCluster:
    """A cluster of one node in Docker."""

    backend = "kind"

    def __init__(self, name: str, report: Callable[[str], None] = lambda _: None) -> None:
        self.name = name
        self._report = report
        self._kubeconfig = cluster_dir(name) / "kubeconfig"

    def create(self, options: CreateOptions) -> None:
        """Make it with `kind create cluster`, unless it is there."""
        for program in ("kind", "docker"):
            if shutil.which(program) is None:
                raise MissingRequirement(f"the kind back end needs {program} on the PATH (or use --backend local)")
        if not self._exists():
            self._kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            (self._kubeconfig.parent / "state.json").write_text(json.dumps({"backend": self.backend}))
            run(create_command(self.name, self._kubeconfig), timeout=900)
        patch_gpus(self._kubeconfig, options.gpus)

    def delete(self, *, keep_logs: bool = False) -> None:
        """Remove it with `kind delete cluster`."""
        if keep_logs:
            target = cache_dir() / "logs" / f"{self.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            run(export_logs_command(self.name, target), check=False, timeout=300)
        run(delete_command(self.name, self._kubeconfig), timeout=300)
        shutil.rmtree(self._kubeconfig.parent, ignore_errors=True)

    def status(self) -> Status:
        """Whether kind knows it and its API server is ready."""
        if not self._exists():
            return Status(self.name, self.backend, running=False, ready=False)
        done = kubectl(self._kubeconfig, "get", "--raw", "/readyz", check=False)
        return Status(self.name, self.backend, True, done.returncode == 0, self._kubeconfig)

    def kubeconfig(self) -> Path:
        """The file that kind wrote."""
        if not self._kubeconfig.exists():
            raise NotRunning(f"no kind cluster {self.name}")
        return self._kubeconfig

    def load_images(self, archives: Sequence[Path]) -> list[LoadedImage]:
        """`kind load image-archive`, then a reference by digest for each of their images."""
        before, named = set(self.images()), set[str]()
        for archive in archives:
            named |= oci.digests(archive)
            run(load_command(self.name, archive), timeout=900)
        loaded = [image for image in self.images() if image not in before or image.digest in named]
        for image in loaded:
            run(tag_command(self.name, image))
        return loaded

    def images(self) -> list[LoadedImage]:
        """What the node's containerd has."""
        listing = self.node_exec(["ctr", "--namespace", "k8s.io", "images", "list"]).stdout
        return [image for image in parse_list(listing) if "@" not in image.name]

    def diagnose(self, lines: int = 40) -> str:
        """Objects and events; `down --keep-logs` exports the rest."""
        parts = [
            kubectl(self.kubeconfig(), "get", what, "-A", "-o", "wide", check=False).stdout
            for what in ("nodes", "pods", "events")
        ]
        return "\n".join("\n".join(part.splitlines()[-lines:]) for part in parts)

    def node_exec(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """`docker exec` in the node's container, whose processes include those of all pods."""
        return run(exec_command(self.name, argv), check=check, timeout=timeout)

    def restart_apiserver(self, *, down_seconds: float = 0) -> None:
        """Kill it; the kubelet starts the static pod again. Its manifest is away while it is to stay down."""
        manifest, aside = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
        if down_seconds:
            self.node_exec(["mv", manifest, aside])
        self.node_exec(["pkill", "-KILL", "-x", "kube-apiserver"])
        if down_seconds:
            time.sleep(down_seconds)
            self.node_exec(["mv", aside, manifest])
        wait_for("kube-apiserver ready again", lambda: self.status().ready, timeout=180, interval=0.5)

    def _exists(self) -> bool:
        if shutil.which("kind") is None:
            return False
        listed = run(["kind", "get", "clusters"], check=False, timeout=60).stdout.split()
        return kind_name(self.name) in listed
