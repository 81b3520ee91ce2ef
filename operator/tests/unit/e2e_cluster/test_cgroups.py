"""Cgroup hierarchies, and how a process of a cluster joins and is found."""

import subprocess
from pathlib import Path

import pytest

from e2e.cluster.local import cgroups, namespaces

HYBRID = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /mnt/elsewhere cgroup rw,memory 0 0
"""


def test_each_mounted_hierarchy_is_found_once() -> None:
    assert cgroups.hierarchies(HYBRID) == [
        (Path("/sys/fs/cgroup/cpu,cpuacct"), "cgroup"),
        (Path("/sys/fs/cgroup/memory"), "cgroup"),
        (Path("/sys/fs/cgroup/unified"), "cgroup2"),
    ]


def test_v2_alone() -> None:
    assert cgroups.hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0") == [(Path("/sys/fs/cgroup"), "cgroup2")]


def test_a_process_joins_every_group_before_it_becomes_the_command(tmp_path: Path) -> None:
    groups = [tmp_path / "one", tmp_path / "t w o"]
    for group in groups:
        group.mkdir()
    command = namespaces.joining(groups, ["/bin/sh", "-c", 'echo "$$ $1"', "x", "a b"])
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pid, _, argument = printed.strip().partition(" ")
    assert argument == "a b"
    assert [(group / "cgroup.procs").read_text().strip() for group in groups] == [pid, pid]


def test_nothing_runs_outside_its_group(tmp_path: Path) -> None:
    done = subprocess.run(
        namespaces.joining([tmp_path / "gone"], ["/bin/echo", "ran"]), capture_output=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("pids", "expected"),
    [("4711\t1", True), ("4711", False), ("4711\t17", False), ("4711\t88\t1", False)],
    ids=["process 1", "on the host", "a daemon", "process 1 of a container"],
)
def test_process_1_of_a_cluster_is_told_from_those_of_its_containers(pids: str, expected: bool) -> None:
    assert namespaces.is_namespace_init(f"Name:\tx\nNSpid:\t{pids}\nNSpgid:\t1\n") is expected


def test_a_copied_cpuset_is_not_empty(tmp_path: Path) -> None:
    parent, child = tmp_path, tmp_path / "child"
    child.mkdir()
    for part, content in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")):
        (parent / part).write_text(content)
        (child / part).write_text("\n")
    cgroups._copy_cpuset(parent, child)
    assert (child / "cpuset.cpus").read_text() == "0-1"
    assert (child / "cpuset.mems").read_text() == "0"
