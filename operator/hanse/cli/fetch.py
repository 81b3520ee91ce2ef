"""`hanse model get`: the model copied out of its claim by a short-lived pod that mounts it read-only.

The bytes come through the API server's exec (as `kubectl cp` does): neither a log nor a network port ever holds them.
"""

import hashlib
import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from hanse.api import names
from hanse.api.encryption import who_has_the_model
from hanse.api.job import FederatedJobStatus, ModelStatus
from hanse.api.podsecurity import container_security, pod_security
from hanse.cli.errors import ClusterError, ModelError
from hanse.cli.kube import Cluster
from hanse.cli.watch import status_of

_LIFE_SECONDS: Final = 1800
_START_SECONDS: Final = 120
_MOUNT: Final = "/model"
#: Standard library only: the pod's image is the job's server image, where python3 is.
_IDLE: Final = f"import signal, time; signal.signal(15, lambda *_: exit(0)); time.sleep({_LIFE_SECONDS})"
_SEND: Final = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer, 1 << 20)"


class _Receiver(io.RawIOBase):
    """Writes what arrives to a file and keeps digest and size; lightkube writes each frame to it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def finished_model(job: dict[str, Any]) -> tuple[ModelStatus, str]:
    """Where the job's model is, and the image to read it with. Raises `ModelError` while there is none."""
    status: FederatedJobStatus = status_of(job)
    shown = f"{job['metadata']['namespace']}/{job['metadata']['name']}"
    if status.model is None:
        state, privacy = status.summary.state, status.privacy
        elsewhere = who_has_the_model(privacy.model_release) if privacy and privacy.model_release else ""
        if elsewhere and state != "Failed":
            raise ModelError(f"FederatedJob {shown} gives the coordinator no model", f"At its end {elsewhere}.")
        raise ModelError(
            f"FederatedJob {shown} has no model (it is {state})",
            "It failed: see kubectl describe." if state == "Failed" else f"Wait for it: hanse watch {shown}.",
        )
    if status.images is None:
        raise ModelError(f"FederatedJob {shown} names no server image", "Give one with --image.")
    return status.model, status.images.server


def reader_pod(namespace: str, name: str, job: str, model: ModelStatus, image: str) -> dict[str, Any]:
    """The pod: restricted, no token, the claim read-only, gone by itself after half an hour."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: "hanse-cli", f"{names.GROUP}/read-model-of": job},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            "containers": [
                {
                    "name": "reader",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", _IDLE],
                    "securityContext": container_security(),
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                    "volumeMounts": [{"name": "model", "mountPath": _MOUNT, "readOnly": True}],
                }
            ],
            "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": model.claim}}],
        },
    }


def wait_until_running(
    status: Callable[[], dict[str, Any]],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Until the pod runs. Raises `ClusterError` with the scheduler's or kubelet's words."""
    deadline = clock() + _START_SECONDS
    while True:
        now = status()
        if now.get("phase") == "Running":
            return
        why = waiting_for(now)
        if now.get("phase") in ("Failed", "Succeeded") or clock() > deadline:
            raise ClusterError(
                f"the reader pod did not start: {why}", "Is the claim in use on another node, or the image missing?"
            )
        wait(0.5)


def waiting_for(status: dict[str, Any]) -> str:
    """Why a pod does not run, in the cluster's words."""
    for container in status.get("containerStatuses") or []:
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason"):
            return f"{state['reason']} {state.get('message', '')}".strip()
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return str(status.get("message") or status.get("reason") or f"phase {status.get('phase', 'unknown')}")


def fetch_model(cluster: Cluster, namespace: str, name: str, target: Path, image: str | None = None) -> ModelStatus:
    """Copy the model to `target` (written whole or not at all) after its digest has been checked."""
    model, server_image = finished_model(cluster.job(namespace, name))
    pod = f"{name[:40]}-model-{secrets.token_hex(4)}"
    cluster.create_pod(reader_pod(namespace, pod, name, model, image or server_image))
    try:
        wait_until_running(lambda: cluster.pod_status(namespace, pod))
        _receive(cluster, namespace, pod, model, target)
    finally:
        cluster.delete_pod(namespace, pod)
    return model


def _receive(cluster: Cluster, namespace: str, pod: str, model: ModelStatus, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            errors = io.BytesIO()
            receiver = _Receiver(file)
            command = ["python3", "-c", _SEND, f"{_MOUNT}/{model.path}"]
            code = cluster.run_in_pod(namespace, pod, command, receiver, errors)  # type: ignore[arg-type]
            check_received(code, errors.getvalue(), receiver.size, receiver.digest, model)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def check_received(code: int, errors: bytes, size: int, digest: str, model: ModelStatus) -> None:
    """Raises `ModelError` unless exactly the model of the status arrived."""
    if code != 0:
        words = errors.decode(errors="replace").strip().splitlines()
        raise ModelError(
            f"claim {model.claim} does not give {model.path}: {words[-1] if words else f'exit code {code}'}",
            "Was the file removed from the claim?",
        )
    if digest != model.digest:
        raise ModelError(
            f"what arrived ({size} bytes, {digest}) is not the model of the job ({model.digest})",
            "Try again; if it stays so, the file in the claim was changed after the job.",
        )
