"""Renders every file and command line of a local cluster, from its layout. Pure; used by `local.backend`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cluster import pki
from e2e.cluster.apiserver import apiserver_args, etcd_args
from e2e.cluster.local import layout as at
from e2e.cluster.local.layout import Layout, cgroup_name

PAUSE_IMAGE = "localhost/hanse/pause:1"
# Directory of the cluster -> the fixed path that it covers: containerd, runc, the CNI plugins and the kubelet keep
# state there (the kubelet its device plugins' sockets, wherever its root is), which clusters would share otherwise.
PRIVATE_MOUNTS = {
    "cni": "/var/lib/cni",
    "netns": "/run/netns",
    "log": "/var/log",
    "containerd": "/run/containerd",
    "kubelet": "/var/lib/kubelet",
}
API = f"127.0.0.1:{at.API_PORT}"


def containerd(layout: Layout, snapshotter: str) -> str:
    """containerd's configuration: own root, state and socket, and nothing that needs CAP_SYS_RESOURCE."""
    base = layout.directory
    return f"""version = 2
root = "{base}/containerd"
state = "{base}/state"
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{base}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def cni() -> str:
    """Pods on a bridge; no masquerade, because pods need no way out of the cluster."""
    bridge = {
        "type": "bridge",
        "bridge": at.BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": at.POD_CIDR}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}, indent=1)


def kubelet(layout: Layout) -> str:
    """The kubelet's configuration (JSON, which is YAML)."""
    base = layout.directory
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup_name(layout.name)}",
            "failSwapOn": False,
            "failCgroupV1": False,
            "clusterDomain": "cluster.local",
            "clusterDNS": [at.DNS_SERVICE_ADDRESS],
            "resolvConf": f"{base}/resolv.conf",
            "podLogsDir": f"{base}/pod-logs",
            "volumePluginDir": f"{base}/volume-plugins",
            "containerLogMaxSize": "20Mi",
            "containerLogMaxFiles": 2,
            "maxPods": 250,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # Images are brought in by hand: one that was collected could not be pulled again.
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
        },
        indent=1,
    )


def kube_proxy(layout: Layout) -> str:
    """kube-proxy in nftables mode, leaving alone the conntrack limits that only the host may set."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": at.POD_CIDR,
            "hostnameOverride": at.NODE_NAME,
            "clientConnection": {"kubeconfig": str(layout.directory / "kube-proxy.kubeconfig")},
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
            "nftables": {"minSyncPeriod": "200ms"},
        },
        indent=1,
    )  # fmt: skip


def corefile(layout: Layout) -> str:
    """CoreDNS for cluster names; any other name does not exist in a cluster without a way out."""
    return f"""cluster.local:53 in-addr.arpa:53 {{
    bind {at.BRIDGE_ADDRESS}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.directory}/coredns.kubeconfig
        ttl 2
    }}
    loadbalance
}}
.:53 {{
    bind {at.BRIDGE_ADDRESS}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def node_plan(layout: Layout, binaries: Mapping[str, Path], programs: Mapping[str, str]) -> dict[str, Any]:
    """What process 1 does: private mounts, network set-up, daemons and what each one waits for.

    Args:
        binaries: our builds, by name.
        programs: full paths of the host's programs (`etcd`, `containerd`, `ip`, `sysctl`).
    """
    base, ip = layout.directory, programs["ip"]
    etcd = f"127.0.0.1:{at.ETCD_PORT}"
    commands = _control_plane(layout, binaries) | _node(layout, binaries, programs)
    after = {
        "etcd": [],
        "containerd": [],
        "kube-apiserver": [etcd],
        "kubelet": [API, str(layout.containerd_socket)],
    }
    return {
        "mounts": [[f"{base}/private/{name}", target] for name, target in PRIVATE_MOUNTS.items()],
        "setup": [
            [ip, "link", "add", at.BRIDGE, "type", "bridge"],
            [ip, "addr", "add", f"{at.BRIDGE_ADDRESS}/16", "dev", at.BRIDGE],
            [ip, "link", "set", at.BRIDGE, "up"],
            # Without a route to it the node itself could not reach a Service.
            [ip, "route", "replace", at.SERVICE_CIDR, "dev", at.BRIDGE],
            [programs["sysctl"], "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"],
        ],
        "daemons": [{"name": name, "argv": argv, "after": after.get(name, [API])} for name, argv in commands.items()],
    }


def _control_plane(layout: Layout, binaries: Mapping[str, Path]) -> dict[str, list[str]]:
    base, keys = layout.directory, layout.pki
    api = apiserver_args(
        etcd_port=at.ETCD_PORT,
        port=at.API_PORT,
        authority=pki.Identity(keys / "ca.crt", keys / "ca.key"),
        serving=pki.Identity(keys / "apiserver.crt", keys / "apiserver.key"),
        signing=keys / "sa.key",
    )
    quick = ["--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
    return {
        "kube-apiserver": [
            str(binaries["kube-apiserver"]),
            *api,
            "--bind-address=0.0.0.0",
            f"--advertise-address={layout.node_address}",
            f"--kubelet-client-certificate={keys}/admin.crt",
            f"--kubelet-client-key={keys}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            str(binaries["kube-controller-manager"]),
            *quick,
            f"--kubeconfig={base}/kube-controller-manager.kubeconfig",
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={keys}/sa.key",
            f"--root-ca-file={keys}/ca.crt",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
        ],
        "kube-scheduler": [
            str(binaries["kube-scheduler"]),
            *quick,
            f"--kubeconfig={base}/kube-scheduler.kubeconfig",
            "--bind-address=127.0.0.1",
        ],
    }


def _node(layout: Layout, binaries: Mapping[str, Path], programs: Mapping[str, str]) -> dict[str, list[str]]:
    base = layout.directory
    return {
        "etcd": [programs["etcd"], *etcd_args(base / "etcd", at.ETCD_PORT, at.ETCD_PEER_PORT)],
        "containerd": [programs["containerd"], "--config", f"{base}/containerd.toml"],
        "kubelet": [
            str(binaries["kubelet"]),
            f"--kubeconfig={base}/kubelet.kubeconfig",
            f"--config={base}/kubelet.json",
            f"--root-dir={base}/kubelet",
            f"--cert-dir={base}/kubelet-pki",
            f"--hostname-override={at.NODE_NAME}",
            f"--node-ip={layout.node_address}",
        ],
        "kube-proxy": [str(binaries["kube-proxy"]), f"--config={base}/kube-proxy.json"],
        "coredns": [str(binaries["coredns"]), "-conf", f"{base}/Corefile"],
        "provisioner": [
            sys.executable,
            "-m",
            "e2e.cluster.local.provisioner",
            str(base / "provisioner.kubeconfig"),
            str(layout.volumes),
        ],
    }
