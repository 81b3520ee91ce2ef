"""The interface of a test cluster.

Implemented by local.backend, kind and existing; used by the command line and e2e tests.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class CreateOptions:
    """What a caller may ask of a new cluster.

    Attributes:
        gpus: how many `nvidia.com/gpu` the node pretends to have; None leaves them as they are.
    """

    gpus: int | None = None


@dataclass(frozen=True)
class Status:
    """Whether a cluster can be used, and where.

    Attributes:
        running: its processes are there.
        ready: its API server answers and its nodes are Ready.
        detail: one line for each thing worth knowing.
    """

    name: str
    backend: str
    running: bool
    ready: bool
    kubeconfig: Path | None = None
    detail: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class LoadedImage:
    """An image on the node: a name with a tag, and the digest that resolves there as `repository@digest`."""

    name: str
    digest: str

    @property
    def by_digest(self) -> str:
        """The reference to use in a pod."""
        return f"{repository(self.name)}@{self.digest}"


def repository(name: str) -> str:
    """An image's name without tag and digest."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


class Cluster(Protocol):
    """A Kubernetes that tests may do with as they like."""

    name: str
    backend: str

    def create(self, options: CreateOptions) -> None:
        """Make it, or bring it to `options` when it is there already."""

    def delete(self, *, keep_logs: bool = False) -> None:
        """Remove it and all that it left; nothing to remove is fine."""

    def status(self) -> Status:
        """How it is."""

    def kubeconfig(self) -> Path:
        """A kubeconfig of its administrator."""

    def load_images(self, archives: Sequence[Path]) -> list[LoadedImage]:
        """Bring image archives (OCI or docker-archive) to the nodes."""

    def images(self) -> list[LoadedImage]:
        """What the node has."""

    def diagnose(self, lines: int = 40) -> str:
        """What a person needs to see when something is wrong."""

    def node_exec(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node, where it sees the processes of all containers."""

    def restart_apiserver(self, *, down_seconds: float = 0) -> None:
        """Kill the API server, keep it away for a while, return when it is ready again."""
