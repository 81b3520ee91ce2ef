"""What the scripts do on a machine that is not this one: another user than root, other programs on the PATH."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def shell(command: str, programs: Path, cache: Path) -> "subprocess.CompletedProcess[str]":
    """Run `command` with scripts/lib/common.sh sourced; what is in `programs` comes before the host's."""
    return subprocess.run(
        ["bash", "-c", f". {ROOT}/scripts/lib/common.sh; {command}"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(cache), "HANSE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The PATH of a user who may use sudo."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program(directory, "id", "echo 1000")
    program(directory, "sudo", '[ "$1" = -E ] && shift; exec env -i BY=sudo PATH=/usr/bin:/bin "$@"')
    return directory


def test_root_by_sudo_keeps_path_and_cache(programs: Path, tmp_path: Path) -> None:
    """sudo sets a PATH of its own, and a cache in root's home would be built a second time."""
    done = shell("as_root sh -c 'echo \"$HANSE_CACHE $PATH\"'", programs, tmp_path)
    cache, path = done.stdout.split()
    assert cache == str(tmp_path)
    assert path.startswith(f"{programs}:")


def test_without_sudo_the_step_is_named(programs: Path, tmp_path: Path) -> None:
    (programs / "sudo").unlink()
    done = shell(f"PATH={programs}; as_root apt-get update", programs, tmp_path)
    assert done.returncode == 1
    assert "this step needs root: apt-get update" in done.stderr


def test_a_host_that_has_nginx_is_left_alone(programs: Path, tmp_path: Path) -> None:
    program(programs, "nginx", "")
    program(programs, "apt-get", "echo installed")
    done = shell("ensure_nginx", programs, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_only_what_is_missing_is_installed_and_by_root(programs: Path, tmp_path: Path) -> None:
    program(programs, "dpkg-query", 'for p; do :; done; [ "$p" != here ] || echo "install ok installed"')
    program(programs, "apt-get", f'echo "$BY: $@" >>{tmp_path}/called')
    done = shell("apt_install here gone", programs, tmp_path)
    assert done.returncode == 0, done.stderr
    update, install = (tmp_path / "called").read_text().splitlines()
    assert update.startswith("sudo: update")
    assert install.startswith("sudo: install")
    assert install.endswith("--no-install-recommends gone")
