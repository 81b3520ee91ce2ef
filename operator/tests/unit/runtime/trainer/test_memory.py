"""The OOM killer's counter on both versions of cgroups, from files as the kernel writes them."""

from pathlib import Path

import pytest

from hanse.runtime.trainer.memory import oom_kills, parse_oom_kills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("text", "kills"),
    [
        (V1, 3),
        (V2, 2),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("", None),
        ("oom_kill many\n", None),
        ("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", 0),
    ],
)
def test_the_counter_is_found_in_both_formats(text: str, kills: int | None) -> None:
    assert parse_oom_kills(text) == kills


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        # v1 in a container: the container's own cgroup is what is mounted
        ({"proc/self/cgroup": "5:memory:/kubepods/pod1/c1\n", "sys/fs/cgroup/memory/memory.oom_control": V1}, 3),
        # v1 on a host: the process's own cgroup
        (
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/x\n5:memory:/job\n0::/other\n",
                "sys/fs/cgroup/memory/memory.oom_control": "oom_kill 99\n",
                "sys/fs/cgroup/memory/job/memory.oom_control": V1,
            },
            3,
        ),
        # v2 in a container with its own cgroup namespace
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": V2}, 2),
        # v2 on a host
        ({"proc/self/cgroup": "0::/user/a\n", "sys/fs/cgroup/user/a/memory.events": V2}, 2),
        # the root cgroup counts nothing, and there may be no cgroups at all
        ({"proc/self/cgroup": "0::/\n"}, 0),
        ({}, 0),
    ],
)
def test_the_counter_is_found_where_the_process_is(tmp_path: Path, files: dict[str, str], kills: int) -> None:
    for path, text in files.items():
        write(tmp_path, path, text)
    assert oom_kills(tmp_path) == kills
