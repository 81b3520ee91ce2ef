"""What a host needs for an API server or for the local back end, checked and installed.

Used by the command line and by scripts/.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.cluster.errors import MissingRequirement
from e2e.cluster.proc import run, which

# Program (or file) that shows that a Debian package is there -> the package. For an API server without nodes:
API_SERVER = {
    "etcd": "etcd-server",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",  # Go fetches modules; minimal systems trust nobody
}
# For a node too:
PACKAGES = {
    **API_SERVER,
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "catatonit": "catatonit",
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "modprobe": "kmod",
    "busybox": "busybox-static",  # the one program in the pods of the clusters' own tests
}
# What these packages start by themselves; ours run in each cluster's own namespaces.
_SERVICES = ("etcd", "containerd")
_MODULES = ("br_netfilter", "overlay", "veth", "nf_tables")


def missing_packages(wanted: Mapping[str, str] = PACKAGES) -> list[str]:
    """Debian packages that are not there."""
    return sorted({package for probe, package in wanted.items() if not _present(probe)})


def install(report: Callable[[str], None] = print, wanted: Mapping[str, str] = PACKAGES) -> None:
    """Install what is missing with apt-get and stop the services that it starts.

    Raises:
        MissingRequirement: not root, or no apt-get.
    """
    packages = missing_packages(wanted)
    if packages:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise MissingRequirement(f"as root on Debian or Ubuntu: apt-get install {' '.join(packages)}")
        report(f"installing {' '.join(packages)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
        run([*apt, "update"], env=environment, timeout=600)
        # A package's script may start its service even without systemd; policy-rc.d would be a file of the host's.
        run([*apt, "install", "--no-install-recommends", *packages], env=environment, timeout=1800)
        stop_services()


def stop_services() -> None:
    """Stop the system's own etcd and containerd, where a service manager runs them."""
    for service in _SERVICES:
        if Path("/run/systemd/system").is_dir():
            run(["systemctl", "disable", "--now", service], check=False)
        elif Path(f"/etc/init.d/{service}").exists():
            run([f"/etc/init.d/{service}", "stop"], check=False)


def check_apiserver() -> None:
    """Make sure that an API server without nodes can start here.

    Raises:
        MissingRequirement: with everything that is missing.
    """
    if packages := missing_packages(API_SERVER):
        raise MissingRequirement(f"missing packages: {' '.join(packages)}")


def check() -> None:
    """Make sure that a local cluster can start here.

    Raises:
        MissingRequirement: with everything that is missing.
    """
    problems = []
    if os.geteuid() != 0:
        problems.append("the local back end needs root")
    if packages := missing_packages():
        problems.append(
            f"missing packages: {' '.join(packages)} (`python -m e2e.cluster preflight --install` installs them)"
        )
    if problems:
        raise MissingRequirement("; ".join(problems))
    for module in _MODULES:  # built in on some kernels, where this fails and nothing is missing
        run([which("modprobe"), "--quiet", module], check=False)
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        raise MissingRequirement("this kernel has no br_netfilter: Services would not work between pods of one node")


def _present(probe: str) -> bool:
    if probe.startswith("/"):
        return Path(probe).exists()
    try:
        which(probe)
    except MissingRequirement:
        return False
    return True
