"""What all manifests share: metadata, owners, containers, failure policy."""

import base64
from typing import Any, Final

from hanse.api import exitcodes, names
from hanse.api.exitcodes import ExitCode
from hanse.api.podsecurity import container_security
from hanse.controller.kinds import Kind
from hanse.controller.views import Meta

Manifest = dict[str, Any]

GRACE_SECONDS: Final = 10
DEFAULT_MODE: Final = 0o440
TMP_SIZE: Final = "1Gi"
SHARED_SIZE: Final = "2Gi"


def metadata(name: str, namespace: str, labels: dict[str, str], owner: tuple[Kind, Meta] | None = None) -> Manifest:
    """metadata with our labels and the controlling owner (in the same namespace)."""
    made: Manifest = {"name": name, "namespace": namespace, "labels": labels}
    if owner is not None:
        kind, meta = owner
        made["ownerReferences"] = [
            {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": meta.name,
                "uid": meta.uid,
                "controller": True,
                # Without the right to set finalizers on the owner the API server refuses blockOwnerDeletion.
                "blockOwnerDeletion": False,
            }
        ]
    return made


def labels(*, job: str, namespace: str, uid: str, **more: str) -> dict[str, str]:
    """The labels of everything that belongs to a job."""
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_JOB: job,
        names.LABEL_JOB_NAMESPACE: namespace,
        names.LABEL_JOB_UID: uid,
        **more,
    }


def container(name: str, image: str, command: list[str], mounts: list[Manifest], **more: Any) -> Manifest:
    """A container that runs one of our programs."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": mounts,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def sidecar(name: str, image: str, command: list[str], mounts: list[Manifest], **more: Any) -> Manifest:
    """A container of ours that restarts and holds what the main container must not reach.

    Strangers' code runs beside it with the same user id: Python takes no module from where that code may write
    (the working directory, HOME), and /tmp is none that the main container has.
    """
    made = container(name, image, command, mounts, restartPolicy="Always", **more)
    made["env"] += [{"name": "PYTHONSAFEPATH", "value": "1"}, {"name": "PYTHONNOUSERSITE", "value": "1"}]
    made["volumeMounts"] = [*mounts, mount(f"tmp-{name}", "/tmp", read_only=False)]  # noqa: S108 - an emptyDir
    return made


def program(name: str, *arguments: str) -> list[str]:
    """The command line of one of our programs."""
    return ["python3", "-m", f"hanse.runtime.{name}", *arguments]


def encoded(values: dict[str, str]) -> dict[str, str]:
    """`data` of a Secret. `stringData` would be write-only, which server-side apply cannot own."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def mount(name: str, path: object, *, read_only: bool = True, sub_path: str = "") -> Manifest:
    """A volume mount."""
    made: Manifest = {"name": name, "mountPath": str(path)}
    if read_only:
        made["readOnly"] = True
    if sub_path:
        made["subPath"] = sub_path
    return made


def empty_dir(name: str, size: str) -> Manifest:
    """An emptyDir of limited size."""
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def failure_policy(*containers: str) -> Manifest:
    """Evictions and drains do not count, permanent exit codes fail the Job at once, the rest is retried."""
    permanent = sorted(int(code) for code in exitcodes.PERMANENT)
    rules: list[Manifest] = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    for name in containers:
        rules.append(
            {
                "action": "Ignore",
                "onExitCodes": {"containerName": name, "operator": "In", "values": [int(ExitCode.DRAINED)]},
            }
        )
        rules.append(
            {"action": "FailJob", "onExitCodes": {"containerName": name, "operator": "In", "values": permanent}}
        )
    return {"rules": rules}
