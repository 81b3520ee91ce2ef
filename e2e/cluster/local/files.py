"""Writes what a local cluster's daemons read: directories, keys, kubeconfigs, configuration.

Used by `local.backend`.
"""

from __future__ import annotations

import json
from pathlib import Path

from e2e.cluster import pki
from e2e.cluster.local import config
from e2e.cluster.local import layout as at
from e2e.cluster.local.layout import Layout
from e2e.cluster.proc import run, which

_DIRECTORIES = ("run", "log", "cni", "volumes", "pod-logs", "volume-plugins", "kubelet", "kubelet-pki")
# Daemon -> the user that its certificate names, and that user's group.
_USERS = {
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{at.NODE_NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", None),
    "coredns": ("hanse-e2e:coredns", None),
    "provisioner": ("hanse-e2e:provisioner", None),
}


def write_files(layout: Layout, built: dict[str, Path]) -> None:
    """Fill a new cluster's directory.

    Args:
        built: our binaries, by name.
    """
    base = layout.directory
    for part in (*_DIRECTORIES, *(f"private/{name}" for name in config.PRIVATE_MOUNTS)):
        (base / part).mkdir(parents=True)
    _write_keys(layout)
    programs = {name: which(name) for name in ("etcd", "containerd", "ip", "sysctl")}
    files = {
        "containerd.toml": config.containerd(layout, snapshotter(base)),
        "cni/10-bridge.conflist": config.cni(),
        "kubelet.json": config.kubelet(layout),
        "kube-proxy.json": config.kube_proxy(layout),
        "Corefile": config.corefile(layout),
        "resolv.conf": "",
        "daemons.json": json.dumps(config.node_plan(layout, built, programs), indent=1),
    }
    for name, content in files.items():
        (base / name).write_text(content)


def snapshotter(directory: Path) -> str:
    """containerd's way to keep layers: overlays do not stack, so plain copies where the directory is on one."""
    on_overlay = run(["stat", "--file-system", "--format=%T", str(directory)]).stdout.strip() == "overlayfs"
    return "native" if on_overlay else "overlayfs"


def _write_keys(layout: Layout) -> None:
    authority = pki.Authority(layout.pki)
    services = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    addresses = ("127.0.0.1", layout.node_address, at.API_SERVICE_ADDRESS, "localhost")
    authority.issue("apiserver", "kube-apiserver", sans=(*addresses, *services))
    admin = authority.issue("admin", "admin", group="system:masters")
    pki.write_signing_key(layout.pki / "sa.key")
    certificate = authority.identity.certificate
    for daemon, (user, group) in _USERS.items():
        identity = authority.issue(daemon, user, group=group)
        path = layout.directory / f"{daemon}.kubeconfig"
        pki.write_kubeconfig(path, f"https://{config.API}", certificate, identity)
    pki.write_kubeconfig(layout.kubeconfig, layout.server, certificate, admin)
