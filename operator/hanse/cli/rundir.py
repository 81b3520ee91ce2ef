"""The directory of a `hanse run`: a root for each program as in its pod (`hanse.api.paths`), logs, what a resume needs.

job.json                   which job this is, and how often it was started
server/                    front, superlink, launcher
clients/NAME/gate/         node key and certificate
clients/NAME/trainer/      the data, no key
clients/NAME/check/        private jobs: the first model, made without data
logs/                      one file a program
"""

import json
import os
import shutil
import tempfile
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from hanse.api.job import FederatedJobSpec
from hanse.api.paths import Paths
from hanse.api.planhash import canonical_hash
from hanse.cli.errors import CliError, UsageError

#: A unix socket's path has at most 107 bytes; `run/hanse/gate.sock` and a margin are below a root.
_ROOT_LIMIT: Final = 75


@dataclass(frozen=True)
class Identity:
    """job.json: what a resume must find unchanged."""

    uid: str
    namespace: str
    name: str
    plan_hash: str
    starts: int


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def server(self) -> Paths:
        return Paths(self._root("server"))

    def gate(self, index: int, name: str) -> Paths:
        return Paths(self._root(f"clients/{name}/gate", f"g{index}"))

    def trainer(self, index: int, name: str) -> Paths:
        return Paths(self._root(f"clients/{name}/trainer", f"t{index}"))

    def check(self, index: int, name: str) -> Paths:
        """Of the program that makes a private job's first model, without data."""
        return Paths(self._root(f"clients/{name}/check", f"c{index}"))

    def _root(self, name: str, short: str = "s") -> Path:
        """The root, through a short link where the path is too long for a socket."""
        root = self.path / name
        if len(os.fsencode(root)) <= _ROOT_LIMIT:
            return root
        links = self._links
        links.mkdir(mode=0o700, exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        link = links / short
        if not link.is_symlink():
            link.symlink_to(root, target_is_directory=True)
        return link

    @property
    def _links(self) -> Path:
        return Path(tempfile.gettempdir()) / f"hanse-{canonical_hash({'path': str(self.path)})[-12:]}"

    def forget_links(self) -> None:
        """Remove the short links: a resume makes new ones."""
        shutil.rmtree(self._links, ignore_errors=True)

    def remove(self) -> None:
        """Everything."""
        self.forget_links()
        shutil.rmtree(self.path, ignore_errors=True)


def plan_hash(spec: FederatedJobSpec) -> str:
    """Of all that a checkpoint depends on; more rounds may be asked of a kept directory."""
    wire = spec.model_copy(update={"suspend": False, "rounds": 1}).to_wire()
    return canonical_hash(wire)


def open_directory(path: Path, namespace: str, name: str, spec: FederatedJobSpec, *, resume: bool) -> Identity:
    """The identity of the job in this directory: a new one, or the kept one with one more start."""
    file = path / "job.json"
    if resume:
        identity = _kept(file)
        if (identity.namespace, identity.name) != (namespace, name) or identity.plan_hash != plan_hash(spec):
            raise UsageError(
                f"{path} holds a run of another job or of another spec ({identity.namespace}/{identity.name})",
                "Resume with the same manifests (only rounds may change), or run without --resume.",
            )
        identity = replace(identity, starts=identity.starts + 1)
        # Asked for by hand: resumes are counted anew, and a finished run may go on with more rounds.
        (path / "server/var/lib/hanse/runs.json").unlink(missing_ok=True)
    else:
        identity = Identity(str(uuid.uuid4()), namespace, name, plan_hash(spec), 1)
    path.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(identity)))
    return identity


def _kept(file: Path) -> Identity:
    try:
        return Identity(**json.loads(file.read_text()))
    except OSError as error:
        raise UsageError(f"{file.parent} holds no run", "Give the directory that an earlier run kept.") from error
    except (ValueError, TypeError) as error:
        raise CliError(f"{file} is damaged: {error}") from error
