"""The `existing` back end: a cluster that somebody else made, reached through a kubeconfig.

Used through `registry.open_cluster`.

What it cannot know is given by the environment:
    KUBECONFIG             the kubeconfig (one file)
    HANSE_LOAD_COMMAND     how to bring an image archive to its nodes; `{archive}` is replaced
    HANSE_NODE_COMMAND     how to run a command on its node; the command is appended
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster.backend import CreateOptions, LoadedImage, Status
from e2e.cluster.errors import NotRunning, Unsupported
from e2e.cluster.kubectl import kubectl
from e2e.cluster.paths import cluster_dir
from e2e.cluster.proc import run


def load_command(template: str, archive: Path) -> list[str]:
    """The words of a load command for one archive."""
    return [word.replace("{archive}", str(archive)) for word in shlex.split(template)]


class ExistingCluster:
    """A cluster that is never made or removed by us."""

    backend = "existing"

    def __init__(self, name: str, report: Callable[[str], None] = lambda _: None) -> None:
        self.name = name
        self._state = cluster_dir(name) / "state.json"

    def create(self, options: CreateOptions) -> None:
        """Remember the kubeconfig of the environment, after asking its server whether it is ready."""
        if options.gpus is not None:
            raise Unsupported("--gpus would change the nodes of a cluster that is not ours")
        configured = os.environ.get("KUBECONFIG")
        if not configured or not Path(configured).is_file():
            raise NotRunning("the existing back end needs KUBECONFIG to name one file")
        kubectl(Path(configured), "get", "--raw", "/readyz")
        self._state.parent.mkdir(parents=True, exist_ok=True)
        self._state.write_text(json.dumps({"backend": self.backend, "kubeconfig": str(Path(configured).absolute())}))

    def delete(self, *, keep_logs: bool = False) -> None:
        """Forget it; the cluster stays as it is."""
        shutil.rmtree(self._state.parent, ignore_errors=True)

    def status(self) -> Status:
        """Whether its server answers."""
        if not self._state.exists():
            return Status(self.name, self.backend, running=False, ready=False)
        ready = kubectl(self.kubeconfig(), "get", "--raw", "/readyz", check=False).returncode == 0
        return Status(self.name, self.backend, ready, ready, self.kubeconfig())

    def kubeconfig(self) -> Path:
        """The file that KUBECONFIG named at `up`."""
        if not self._state.exists():
            raise NotRunning(f"no cluster {self.name}: `KUBECONFIG=… python -m e2e.cluster up --backend existing`")
        return Path(json.loads(self._state.read_text())["kubeconfig"])

    def load_images(self, archives: Sequence[Path]) -> list[LoadedImage]:
        """Run HANSE_LOAD_COMMAND for each archive; what it loaded is not known here, so the list is empty."""
        template = os.environ.get("HANSE_LOAD_COMMAND")
        if not template:
            raise Unsupported(
                "we cannot know how images get to the nodes of this cluster: push them to its registry, "
                "or set HANSE_LOAD_COMMAND, for example 'k3s ctr images import {archive}'"
            )
        for archive in archives:
            run(load_command(template, archive), timeout=1800)
        return []

    def images(self) -> list[LoadedImage]:
        """Not to be had through a kubeconfig with names and manifest digests that agree."""
        raise Unsupported("the images of an existing cluster's nodes cannot be listed")

    def diagnose(self, lines: int = 40) -> str:
        """Nodes, pods and events."""
        parts = [
            kubectl(self.kubeconfig(), "get", what, "-A", check=False).stdout for what in ("nodes", "pods", "events")
        ]
        return "\n".join("\n".join(part.splitlines()[-lines:]) for part in parts)

    def node_exec(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run it through HANSE_NODE_COMMAND."""
        prefix = os.environ.get("HANSE_NODE_COMMAND")
        if not prefix:
            raise Unsupported("set HANSE_NODE_COMMAND to reach this cluster's node, for example 'ssh root@node'")
        return run([*shlex.split(prefix), *argv], check=check, timeout=timeout)

    def restart_apiserver(self, *, down_seconds: float = 0) -> None:
        """Not ours to restart."""
        raise Unsupported("the API server of an existing cluster is not restarted")
