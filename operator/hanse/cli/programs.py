"""The programs of a `hanse run`: what is started, with which environment, and what is started again when it dies."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import hanse
from hanse.api.exitcodes import PERMANENT
from hanse.api.paths import Paths
from hanse.cli.layout import Member
from hanse.cli.processes import Program
from hanse.cli.rundir import Identity, RunDirectory

_SIDECAR_RESTARTS: Final = 5
_CLIENT_RETRIES: Final = 3


def programs(
    directory: RunDirectory, identity: Identity, members: list[Member], app_path: tuple[Path, ...]
) -> list[Program]:
    """Every program of the run, in the order in which they start. The launcher is ended first, SuperLink last."""
    pod = f"{identity.name}-server-{identity.starts}"

    def make(name: str, module: str, paths: Paths, pod: str, *, stage: int, retries: int = 0) -> Program:
        return Program(
            name=name,
            module=f"hanse.runtime.{module}",
            arguments=("--root", str(paths.root)),
            environment=environment(os.environ, paths, pod, app_path, len(members)),
            log=directory.logs / f"{name}.log",
            retry=lambda code: code != 0 and code not in PERMANENT,
            retries=retries,
            stage=stage,
        )

    found = [
        make("superlink", "superlink", directory.server, pod, stage=0, retries=_SIDECAR_RESTARTS),
        make("launcher", "server", directory.server, pod, stage=3),
    ]
    for member in members:
        name = member.participant.name
        gate, trainer = directory.gate(member.index, name), directory.trainer(member.index, name)
        found.append(make(f"{name}/gate", "gate", gate, name, stage=1, retries=_SIDECAR_RESTARTS))
        found.append(make(f"{name}/trainer", "trainer", trainer, name, stage=2, retries=_CLIENT_RETRIES))
    return found


def first_models(
    directory: RunDirectory, identity: Identity, members: list[Member], app_path: tuple[Path, ...]
) -> list[Program]:
    """The programs that make a private job's first model, one for each participant; they end by themselves."""
    made = []
    for member in members:
        name = member.participant.name
        paths = directory.check(member.index, name)
        made.append(
            Program(
                name=f"{name}/check",
                module="hanse.runtime.trainer",
                arguments=("check", "--root", str(paths.root)),
                environment=environment(os.environ, paths, name, app_path, len(members)),
                log=directory.logs / f"{name}/check.log",
            )
        )
    return made


def environment(
    outer: Mapping[str, str], paths: Paths, pod: str, app_path: tuple[Path, ...], participants: int
) -> dict[str, str]:
    """What a program sees: the caller's environment, its pod's name, our code and the user's, a share of the CPUs."""
    ours = str(Path(hanse.__file__).resolve().parent.parent)
    path = [*(str(p.resolve()) for p in app_path), *filter(None, [outer.get("PYTHONPATH")])]
    threads = max(1, (os.cpu_count() or 1) // max(participants, 1))
    return {
        "OMP_NUM_THREADS": str(threads),
        **outer,
        "PYTHONPATH": os.pathsep.join([*path, ours]),
        "PYTHONUNBUFFERED": "1",
        "POD_NAME": pod,
        "TMPDIR": str(paths.root / "tmp"),
    }
