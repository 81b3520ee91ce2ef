"""Manifests that tests and the demo need: namespaces, owners with data, jobs. Pure functions from values to dicts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from hanse.api.podsecurity import container_security, pod_security

Object = dict[str, Any]
COORDINATOR = "consortium"
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}


def namespace(name: str) -> Object:
    """A namespace under the `restricted` Pod Security standard."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def claim(name: str, namespace: str, size: str = "1Gi") -> Object:
    """A claim of the cluster's default StorageClass."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def participant(
    name: str,
    datasets: list[Object],
    *,
    namespace: str | None = None,
    namespaces: tuple[str, ...] = (COORDINATOR,),
    pod_template: Object | None = None,
) -> Object:
    """A Participant; its namespace has its name unless given."""
    spec: Object = {
        "organisation": name.title(),
        "datasets": datasets,
        "policy": {"namespaces": list(namespaces)},
    }
    if pod_template:
        spec["podTemplate"] = pod_template
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "Participant",
        "metadata": {"name": name, "namespace": namespace or name},
        "spec": spec,
    }


def dataset(name: str, claim_name: str, path: str, schema: Object | None = None) -> Object:
    """One dataset of a Participant."""
    found: Object = {"name": name, "source": {"persistentVolumeClaim": {"claimName": claim_name}, "path": path}}
    if schema:
        found["schema"] = schema
    return found


def federated_job(name: str, image: str, owners: list[str], *, dataset: str = "numbers", **spec: Any) -> Object:
    """A FederatedJob in the coordinator's namespace; `app` given in `spec` is merged over the image."""
    app = {"image": image, "clientApp": "hanse.runtime.apps.counting:app", **spec.pop("app", {})}
    participants = [
        {"name": owner, "participantRef": {"namespace": owner, "name": owner}, "dataset": dataset} for owner in owners
    ]
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": name, "namespace": COORDINATOR},
        "spec": {"app": app, "participants": participants, "rounds": 3, **spec},
    }


def data_config_map(name: str, namespace: str, files: dict[str, Path]) -> Object:
    """Small files (name in the claim -> file here; together under 1 MiB) on their way into a claim."""
    data = {target: base64.b64encode(path.read_bytes()).decode() for target, path in files.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": data}


def reader_pod(name: str, namespace: str, claim_name: str, image: str) -> Object:
    """A pod of the claim's owner that has it, read-only, at /claim: for `kubectl exec`."""
    container = {
        "name": "reader",
        "image": image,
        "command": ["sleep", "3600"],
        "volumeMounts": [{"name": "claim", "mountPath": "/claim", "readOnly": True}],
        "securityContext": container_security(),
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim_name}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def load_job(name: str, namespace: str, config_map: str, claim_name: str, image: str) -> Object:
    """A Job that copies a ConfigMap's files into a claim, as the user that the trainers run as."""
    container = {
        "name": "load",
        "image": image,
        "command": ["sh", "-c", "cp -L /from/* /to/ && ls -l /to"],
        "volumeMounts": [{"name": "from", "mountPath": "/from"}, {"name": "to", "mountPath": "/to"}],
        "securityContext": container_security(),
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [
            {"name": "from", "configMap": {"name": config_map}},
            {"name": "to", "persistentVolumeClaim": {"claimName": claim_name}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 2, "template": {"spec": pod}},
    }
