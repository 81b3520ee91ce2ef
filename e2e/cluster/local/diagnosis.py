"""What a person needs to see when a local cluster misbehaves. Used by the local back end."""

from __future__ import annotations

from pathlib import Path

from e2e.cluster.binaries import links_dir
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import cgroups
from e2e.cluster.local.layout import Layout
from e2e.cluster.proc import run

_QUESTIONS = (
    ("get", "nodes", "-o", "wide"),
    ("get", "nodes", "-o", r"jsonpath={range .items[*].status.conditions[*]}{.type}={.status} {.message}{'\n'}{end}"),
    ("get", "pods", "-A", "-o", "wide"),
    ("get", "pvc,pv", "-A"),
    ("get", "events", "-A", "--sort-by=.lastTimestamp"),
)


def diagnose(layout: Layout, *, lines: int) -> str:
    """Processes, objects, the latest events and the ends of all logs; never fails."""
    parts = [f"=== cluster {layout.name}: {len(cgroups.processes(layout.name))} processes"]
    for question in _QUESTIONS:
        parts.append(f"--- kubectl {' '.join(question[:3])}\n{_ask(layout, question, lines)}")
    for log in sorted(layout.logs.glob("*.log")):
        parts.append(f"--- {log.name}\n{tail(log, lines)}")
    return "\n".join(parts)


def tail(path: Path, lines: int) -> str:
    """The last lines of a file."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - lines * 400))
            return "\n".join(handle.read().decode(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def _ask(layout: Layout, question: tuple[str, ...], lines: int) -> str:
    kubectl = [str(links_dir() / "kubectl"), f"--kubeconfig={layout.kubeconfig}", "--request-timeout=5s"]
    try:
        done = run([*kubectl, *question], check=False, timeout=15)
    except (ClusterError, OSError) as error:
        return str(error)
    return "\n".join((done.stdout + done.stderr).splitlines()[-lines:])
