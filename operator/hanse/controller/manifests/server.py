"""The server Job: front and SuperLink as sidecars, the launcher as the container that ends the pod.

Built by `reconcile.running`.
"""

from typing import Final

from hanse.api import names
from hanse.api.job import FederatedJobSpec, FrozenImages
from hanse.api.paths import Paths
from hanse.api.podsecurity import pod_security
from hanse.controller.kinds import FEDERATED_JOB
from hanse.controller.manifests import common
from hanse.controller.manifests.common import Manifest, mount
from hanse.controller.views import Meta

HEALTH_PORT: Final = 9444
TOKEN_SECONDS: Final = 3600
OUTPUT_SUB_PATH: Final = "output"
_PATHS: Final = Paths()


def job_labels(job: Meta, **more: str) -> dict[str, str]:
    """The labels of a job's objects in its own namespace."""
    return common.labels(job=job.name, namespace=job.namespace, uid=job.uid, **more)


def build_server_job(job: Meta, spec: FederatedJobSpec, images: FrozenImages) -> Manifest:
    """The server Job. With a queue label it starts suspended and is the queue's from then on."""
    name = names.server_name(job.name)
    labels = job_labels(job, **{names.LABEL_ROLE: names.ROLE_SERVER})
    queue = job.labels.get(names.LABEL_QUEUE, "")
    job_labels_ = {**labels, names.LABEL_QUEUE: queue} if queue else labels
    made: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": common.metadata(name, job.namespace, job_labels_, (FEDERATED_JOB, job)),
        "spec": {
            "backoffLimit": spec.backoff_limit,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": common.failure_policy(names.CONTAINER_LAUNCHER),
            "template": {"metadata": {"labels": labels}, "spec": _pod(job, spec, images)},
        },
    }
    if queue:
        made["spec"]["suspend"] = True
    return made


def _pod(job: Meta, spec: FederatedJobSpec, images: FrozenImages) -> Manifest:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": common.GRACE_SECONDS,
        "securityContext": pod_security(),
        "initContainers": [_superlink(images), _front(images)],
        "containers": [_launcher(spec, images)],
        "volumes": _volumes(job, spec),
    }


def _superlink(images: FrozenImages) -> Manifest:
    mounts = [
        mount("config", _PATHS.config),
        mount("tls", _PATHS.tls),
        mount("shared", _PATHS.shared, read_only=False),
        mount("state", _PATHS.state, read_only=False),
    ]
    return common.sidecar(
        names.CONTAINER_SUPERLINK,
        images.server,
        common.program("superlink"),
        mounts,
        resources={"requests": {"cpu": "100m", "memory": "192Mi"}},
    )


def _front(images: FrozenImages) -> Manifest:
    mounts = [
        mount("config", _PATHS.config),
        mount("tls", _PATHS.tls),
    ]
    return common.sidecar(
        names.CONTAINER_FRONT,
        images.server,
        common.program("front"),
        mounts,
        ports=[{"name": "fleet", "containerPort": names.FRONT_PORT}],
        # The fleet port asks for a client certificate: the kubelet has a port of its own that answers /health alone.
        startupProbe={"tcpSocket": {"port": HEALTH_PORT}, "periodSeconds": 1, "failureThreshold": 120},
        readinessProbe={
            "httpGet": {"path": "/health", "port": HEALTH_PORT},
            "periodSeconds": 2,
            "timeoutSeconds": 3,
            "failureThreshold": 5,
        },
        resources={"requests": {"cpu": "25m", "memory": "32Mi"}},
    )


def _launcher(spec: FederatedJobSpec, images: FrozenImages) -> Manifest:
    mounts = [
        mount("config", _PATHS.config),
        # The user's ServerApp may run here: the CA certificate, not the front's key.
        mount("ca", _PATHS.tls),
        mount("shared", _PATHS.shared, read_only=False),
        mount("state", _PATHS.state, read_only=False),
        _output_mount(spec),
        mount("tmp", "/tmp", read_only=False),  # noqa: S108 - an emptyDir of this pod
        mount("progress-token", _PATHS.progress_token.parent),
        mount("operator-ca", _PATHS.operator_ca.parent),
    ]
    image = images.trainer if spec.app.server_app else images.server
    return common.container(
        names.CONTAINER_LAUNCHER,
        image,
        common.program("server"),
        mounts,
        resources={"requests": {"cpu": "150m", "memory": "256Mi"}},
    )


def _output_mount(spec: FederatedJobSpec) -> Manifest:
    if spec.output.claim_name is not None:
        return mount("output", _PATHS.output, read_only=False)
    return mount("state", _PATHS.output, read_only=False, sub_path=OUTPUT_SUB_PATH)


def _volumes(job: Meta, spec: FederatedJobSpec) -> list[Manifest]:
    tls = names.server_tls_name(job.name)
    token = {
        "serviceAccountToken": {
            "audience": names.PROGRESS_AUDIENCE,
            "expirationSeconds": TOKEN_SECONDS,
            "path": _PATHS.progress_token.name,
        }
    }
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": names.run_config_name(job.name)}},
        {"name": "tls", "secret": {"secretName": tls, "defaultMode": common.DEFAULT_MODE}},
        {
            "name": "ca",
            "secret": {
                "secretName": tls,
                "defaultMode": common.DEFAULT_MODE,
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            },
        },
        {"name": "progress-token", "projected": {"defaultMode": common.DEFAULT_MODE, "sources": [token]}},
        # Losing progress never fails a job: the pod starts without the CA too.
        {"name": "operator-ca", "configMap": {"name": names.operator_ca_name(job.name), "optional": True}},
        {"name": "state", "persistentVolumeClaim": {"claimName": names.state_claim_name(job.name)}},
        common.empty_dir("shared", common.SHARED_SIZE),
        common.empty_dir("tmp", common.TMP_SIZE),
        common.empty_dir(f"tmp-{names.CONTAINER_SUPERLINK}", common.TMP_SIZE),
        common.empty_dir(f"tmp-{names.CONTAINER_FRONT}", common.TMP_SIZE),
    ]
    if spec.output.claim_name is not None:
        volumes.append({"name": "output", "persistentVolumeClaim": {"claimName": spec.output.claim_name}})
    return volumes
