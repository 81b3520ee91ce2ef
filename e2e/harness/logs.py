"""All that the containers of a job have written, and what must not be in it; used by tests that search logs."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from e2e.harness.federation import OPERATOR_NAMESPACE
from e2e.harness.kube import Kube


def collect(kube: Kube, job: str) -> dict[str, str]:
    """Logs of the operator and of every container of a job's pods, also of one that was started again, by place."""
    logs = {"operator": kube.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator")}
    for pod in kube.list("pods", selector=f"hanse.dev/job={job}"):
        meta, statuses = pod["metadata"], pod["status"]
        for status in [*statuses["containerStatuses"], *statuses["initContainerStatuses"]]:
            where = f"{meta['namespace']}/{meta['name']}/{status['name']}"
            logs[where] = kube.logs(meta["name"], meta["namespace"], status["name"])
            if status["restartCount"]:
                logs[f"{where} before"] = kube.run(
                    "logs", meta["name"], "-n", meta["namespace"], "-c", status["name"], "--previous", check=False
                )
    containers = {where.split("/")[2] for where in logs if "/" in where}
    assert {"front", "superlink", "launcher", "gate", "trainer", "app-check"} <= containers
    assert sum(1 for text in logs.values() if text) > len(containers) / 2, "there is something to search"
    return logs


def forms_of_bytes(secret: bytes) -> list[str]:
    """Bytes as a log might show them: hexadecimal, base64, Python's literal."""
    return [secret.hex(), base64.b64encode(secret).decode(), str(secret)[2:-1]]


def forms_of_key(pem: str, encoded: str) -> list[str]:
    """A private key as text: lines of its PEM, the Secret's base64, its number as hexadecimal, decimal and base64."""
    private = serialization.load_pem_private_key(pem.encode(), password=None)
    lines = [line for line in pem.splitlines() if line and not line.startswith("-")]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return [*lines, encoded[40:100], *forms_of_bytes(private.private_bytes_raw())]
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    number = private.private_numbers().private_value
    raw = number.to_bytes((private.key_size + 7) // 8, "big")
    return [*lines, encoded[80:140], str(number), *forms_of_bytes(raw)]
