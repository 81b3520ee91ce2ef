"""`hanse run` as a process: starting it, hearing it, and what it leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command, as a user calls it; all that it prints on stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", "hanse.cli.main", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes(*words: str) -> dict[int, str]:
    """Command line by process id, of those whose command line has all the words."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in text for word in words):
            found[int(file.parent.name)] = text
    return found


def left_behind(path: Path) -> list[str]:
    """Command lines of processes that name the directory."""
    return list(processes(str(path), "-m hanse.runtime").values())


def run_directory(path: Path) -> Path:
    """That was kept below the output."""
    (found,) = (path / "out").glob("run-*")
    return found


def until(process: subprocess.Popen[str], word: str) -> str:
    """Everything printed up to the first line with the word."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"never said {word!r}:\n{seen}")
