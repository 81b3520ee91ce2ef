"""What the `restricted` Pod Security standard asks of a pod and its containers, and the user that ours run as.

For every pod that Hanse makes: the operator's, `hanse model get`'s, `helm test`'s and the tests'.
"""

from typing import Any, Final

#: User and group of the images (images/Dockerfile) and of the files that pods write.
USER: Final = 65532


def pod_security() -> dict[str, Any]:
    """securityContext of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """securityContext of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
