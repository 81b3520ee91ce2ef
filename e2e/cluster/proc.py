"""Runs commands, and waits for conditions. Used by every module of e2e.cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.cluster.errors import CommandFailed, MissingRequirement, NotReady

# Debian keeps these off the PATH of cron jobs and of some containers' shells.
_ADMIN_DIRS = "/usr/local/sbin:/usr/sbin:/sbin"


def which(program: str) -> str:
    """Full path of a program, looking into the administrator's directories too."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":" + _ADMIN_DIRS)
    if found is None:
        raise MissingRequirement(f"{program} is not installed: run `python -m e2e.cluster preflight --install`")
    return found


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float | None = 120,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with its output captured.

    Raises:
        CommandFailed: with `check`, for an exit code other than 0; always for a command that ran past `timeout`.
    """
    try:
        done = subprocess.run(
            list(argv), capture_output=True, text=True, errors="replace", timeout=timeout, input=stdin,
            env=dict(env) if env is not None else None, cwd=cwd, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(argv, -1, f"no end after {timeout} s") from error
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return done


def wait_for(what: str, condition: Callable[[], bool], *, timeout: float, interval: float = 0.1) -> None:
    """Call `condition` until it is true.

    Raises:
        NotReady: after `timeout` seconds, with `what` in its text.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not so after {timeout:.0f} s")
        time.sleep(interval)
