"""What the server pod needs beside its Job: Service, run config, state claim, Secrets, CA certificates.

Built by `reconcile.running` and, where a private key is inside, by `execute`.
"""

import json
from typing import Final

from hanse.api import names
from hanse.api.job import FederatedJobSpec, OutputStorage
from hanse.api.runconfig import RunConfig
from hanse.controller.kinds import FEDERATED_JOB
from hanse.controller.manifests.common import Manifest, encoded, metadata
from hanse.controller.manifests.server import job_labels
from hanse.controller.views import Meta

ROLE_CA: Final = "ca"
INDEX_JOB: Final = "job.json"
MODEL_FILE: Final = "model.safetensors"


def build_service(job: Meta) -> Manifest:
    """The Service under which gates reach the front."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(names.server_name(job.name), job.namespace, job_labels(job), (FEDERATED_JOB, job)),
        "spec": {
            "selector": {names.LABEL_JOB_UID: job.uid, names.LABEL_ROLE: names.ROLE_SERVER},
            "ports": [{"name": "fleet", "port": names.FRONT_PORT, "targetPort": "fleet", "protocol": "TCP"}],
        },
    }


def build_run_config(job: Meta, config: RunConfig) -> Manifest:
    """run.json."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(names.run_config_name(job.name), job.namespace, job_labels(job), (FEDERATED_JOB, job)),
        "data": {"run.json": json.dumps(config.to_wire(), sort_keys=True, indent=1)},
    }


def build_operator_ca(job: Meta, certificate: str) -> Manifest:
    """The CA of the progress endpoint, for the launcher."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(names.operator_ca_name(job.name), job.namespace, job_labels(job), (FEDERATED_JOB, job)),
        "data": {"ca.crt": certificate},
    }


def build_state_claim(job: Meta, spec: FederatedJobSpec) -> Manifest:
    """The job's volume: SQLite, checkpoints and, without output.claimName, the model."""
    storage = spec.output.storage or OutputStorage()
    claim: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        claim["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(names.state_claim_name(job.name), job.namespace, job_labels(job), (FEDERATED_JOB, job)),
        "spec": claim,
    }


def build_server_tls(job: Meta, *, ca: str, certificate: str, key: str) -> Manifest:
    """The front's certificate and key, and the job's CA certificate."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata(names.server_tls_name(job.name), job.namespace, job_labels(job), (FEDERATED_JOB, job)),
        "data": encoded({"ca.crt": ca, "tls.crt": certificate, "tls.key": key}),
    }


def build_ca_index(job: Meta, namespace: str) -> Manifest:
    """The entry by which a sweep finds a job's CA Secret: Secrets are never listed."""
    labels = job_labels(job, **{names.LABEL_ROLE: ROLE_CA})
    where = {"namespace": job.namespace, "name": job.name, "uid": job.uid}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(names.ca_secret_name(job.uid), namespace, labels),
        "data": {INDEX_JOB: json.dumps(where, sort_keys=True)},
    }


def build_ca_secret(job: Meta, namespace: str, *, certificate: str, key: str) -> Manifest:
    """The job's CA: in the operator's namespace, never in a job's."""
    labels = job_labels(job, **{names.LABEL_ROLE: ROLE_CA})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata(names.ca_secret_name(job.uid), namespace, labels),
        "data": encoded({"tls.crt": certificate, "tls.key": key}),
    }
