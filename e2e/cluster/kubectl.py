"""kubectl for the back ends whose kubeconfig was not written by us. Used by kind and existing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from e2e.cluster.binaries import ensure, links_dir
from e2e.cluster.proc import run


def kubectl(kubeconfig: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run our own build, else the host's kubectl, else build ours."""
    built = links_dir() / "kubectl"
    found = str(built) if built.exists() else shutil.which("kubectl")
    program = found or str(ensure(["kubectl"])["kubectl"])
    return run([program, f"--kubeconfig={kubeconfig}", "--request-timeout=20s", *arguments], check=check)


def patch_gpus(kubeconfig: Path, count: int | None) -> None:
    """Let the first node pretend to have GPUs; nothing happens for None."""
    if count is not None:
        node = kubectl(kubeconfig, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
        patch = json.dumps({"status": {"capacity": {"nvidia.com/gpu": str(count)}}})
        kubectl(kubeconfig, "patch", "node", node, "--subresource=status", "--type=merge", f"--patch={patch}")
