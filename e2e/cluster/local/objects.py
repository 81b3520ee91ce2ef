"""What a local cluster has from its first second: DNS Service, StorageClass, the rights of our host processes. Pure."""

from __future__ import annotations

from typing import Any

from e2e.cluster.local import layout as at
from e2e.cluster.local.provisioner import PROVISIONER, STORAGE_CLASS

Json = dict[str, Any]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def initial_objects() -> list[tuple[str, Json]]:
    """Path and body of each object, to be applied in this order."""
    return [*_dns(), _storage_class(), *_rights()]


def gpu_patch(count: int) -> Json:
    """What a device plugin would put into the node's status."""
    resources = {"nvidia.com/gpu": str(count)}
    return {"status": {"capacity": resources, "allocatable": resources}}


def _dns() -> list[tuple[str, Json]]:
    """CoreDNS is a host process: a Service without a selector, and its endpoints by hand."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": at.DNS_SERVICE_ADDRESS, "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": "hanse.dev",
            },
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [at.BRIDGE_ADDRESS], "conditions": {"ready": True}}],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
    return [
        ("/api/v1/namespaces/kube-system/services/kube-dns", service),
        (f"{slices}/kube-dns-host", endpoints),
    ]


def _storage_class() -> tuple[str, Json]:
    body = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
    return f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", body


def _rights() -> list[tuple[str, Json]]:
    """Each host process may do what it does and no more; their certificates name the users."""
    read = ["get", "list", "watch"]
    roles = {
        "coredns": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        ],
        "provisioner": [
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": read},
            {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": [*read, "create", "delete"]},
        ],
    }
    objects = []
    for user, rules in roles.items():
        name = f"hanse-e2e:{user}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }
        for plural, body in (("clusterroles", role), ("clusterrolebindings", binding)):
            objects.append((f"{_RBAC}/{plural}/{name}", {**body, "metadata": {"name": name}}))
    return objects
