"""Was it the OOM killer? Reads the memory cgroup's counter, version 1 and 2. Used by the trainer's supervisor.

A child killed for memory leaves PID 1 alive, so the kubelet shows no `OOMKilled` (cgroup v1, and v2 without
memory.oom.group): only the counter tells.
"""

from pathlib import Path


def counter_files(root: Path = Path("/")) -> list[Path]:
    """Where the counter may be, best first: the process's own cgroup, else what the container has mounted there."""
    mount = root / "sys/fs/cgroup"
    own_v1 = own_v2 = ""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            own_v1 = path.lstrip("/")
        elif not controllers:
            own_v2 = path.lstrip("/")
    return [
        mount / "memory" / own_v1 / "memory.oom_control",
        mount / "memory" / "memory.oom_control",
        mount / own_v2 / "memory.events",
        mount / "memory.events",
    ]


def parse_oom_kills(text: str) -> int | None:
    """The number after `oom_kill`, in memory.oom_control (v1) as in memory.events (v2); None when it is not there."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdigit():
            return int(number)
    return None


def oom_kills(root: Path = Path("/")) -> int:
    """Processes of our memory cgroup that the OOM killer has killed so far; 0 where nobody counts."""
    for path in counter_files(root):
        try:
            kills = parse_oom_kills(path.read_text())
        except OSError:
            continue
        if kills is not None:
            return kills
    return 0
