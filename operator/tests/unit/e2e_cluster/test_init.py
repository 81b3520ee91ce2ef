"""The helpers of a cluster's process 1 (what needs its namespaces is tested in e2e/cluster)."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from e2e.cluster.local import init
from e2e.cluster.paths import repo_root


def test_it_refuses_to_touch_the_hosts_own_mounts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "e2e.cluster.local.init", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=repo_root(),
    )  # fmt: skip
    assert done.returncode == 1
    assert "process 1" in done.stderr


def test_a_long_log_keeps_its_end_and_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "kubelet.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "wb") as writer:
        writer.truncate(init.LARGEST_LOG)
        writer.write(b"the end")
        writer.flush()
        init.limit_log(log)
        assert log.stat().st_size == 0
        kept = log.with_suffix(".log.1").read_bytes()
        assert kept.endswith(b"the end")
        assert len(kept) == init.KEPT_LOG
        writer.write(b"more")
    assert log.read_bytes() == b"more"


def test_a_short_log_and_no_log_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    init.limit_log(log)
    log.write_text("short")
    init.limit_log(log)
    assert log.read_text() == "short"


def test_answers_tells_a_listener_from_none(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        address = f"127.0.0.1:{tcp.getsockname()[1]}"
        assert init.answers(address)
        assert init.answers(str(path))
    assert not init.answers(address)
    assert not init.answers(str(path))


def test_overlays_of_other_containers_are_found_but_not_the_root() -> None:
    mounts = "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\noverlay /var/lib/x/merged overlay rw 0 0\n"
    assert init.overlays(mounts) == ["/var/lib/x/merged"]
