"""Where built tools and clusters live on disk, and who may touch them. Used by every module of e2e.cluster."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.errors import ClusterError

DEFAULT_NAME = "dev"
# A cluster's name becomes a cgroup and a directory whose sockets must stay under 108 bytes.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


def repo_root() -> Path:
    """The checkout that this package is in."""
    return Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """Built things: `$HANSE_CACHE`, or `hanse` under the user's cache directory."""
    configured = os.environ.get("HANSE_CACHE")
    return Path(configured).absolute() if configured else Path.home() / ".cache" / "hanse"


def check_name(name: str) -> str:
    """Return the name when it can name a cluster."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"cluster name {name!r}: 1 to 20 lower-case letters, digits and dashes, please")
    return name


def clusters_dir() -> Path:
    """One directory for each cluster."""
    return cache_dir() / "clusters"


def cluster_dir(name: str) -> Path:
    """Everything that one cluster keeps on disk."""
    return clusters_dir() / check_name(name)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, which is made; wait for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
