"""Names, labels and annotations: every child's name is a function of (parent, role). Used by every program."""

import hashlib
import uuid
from typing import Final

GROUP: Final = "hanse.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "hanse-operator"
PROGRESS_AUDIENCE: Final = "hanse.dev/progress"

LABEL_JOB: Final = f"{GROUP}/job"
LABEL_JOB_NAMESPACE: Final = f"{GROUP}/job-namespace"
LABEL_JOB_UID: Final = f"{GROUP}/job-uid"
LABEL_PARTICIPANT: Final = f"{GROUP}/participant"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "hanse"
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"

ROLE_SERVER: Final = "server"
ROLE_CLIENT: Final = "client"

CONTAINER_FRONT: Final = "front"
CONTAINER_SUPERLINK: Final = "superlink"
CONTAINER_LAUNCHER: Final = "launcher"
CONTAINER_GATE: Final = "gate"
CONTAINER_TRAINER: Final = "trainer"
CONTAINER_APP_CHECK: Final = "app-check"

FRONT_PORT: Final = 9443  # what the Service exposes; only /v1/fleet/* and /health behind mutual TLS
SUPERLINK_PORT: Final = 8000  # loopback only


def server_name(job: str) -> str:
    """Name of the server Job and its Service."""
    return f"{job}-server"


def server_host(job: str, namespace: str) -> str:
    """DNS name under which gates reach the front; also a SAN of the server's certificate."""
    return f"{server_name(job)}.{namespace}.svc"


def run_config_name(job: str) -> str:
    """ConfigMap with run.json, in the job's namespace."""
    return f"{job}-run"


def server_tls_name(job: str) -> str:
    """Secret with the front's certificate and the job's CA certificate, in the job's namespace."""
    return f"{job}-server-tls"


def state_claim_name(job: str) -> str:
    """PersistentVolumeClaim for SQLite, checkpoints and (without output.claimName) the model."""
    return f"{job}-state"


def operator_ca_name(job: str) -> str:
    """ConfigMap with the operator's serving CA, in the job's namespace."""
    return f"{job}-operator-ca"


def ca_secret_name(job_uid: str) -> str:
    """Secret with the job CA's private key: in the operator's namespace, never in a job's."""
    return f"job-ca-{job_uid}"


def participation_name(job: str, participant: str, job_uid: str) -> str:
    """`<job>-<participant>-<8 hex>`: unique in the owner's namespace also for equal names in two namespaces."""
    digest = hashlib.sha256(f"{job_uid}/{participant}".encode()).hexdigest()[:8]
    return f"{job}-{participant}-{digest}"


def client_name(participation: str) -> str:
    """Name of the client Job, its ConfigMap and its Secret, in the owner's namespace."""
    digest = hashlib.sha256(participation.encode()).hexdigest()[:8]
    # A Job's pods carry its name as a label value: at most 63 characters.
    return participation if len(participation) <= 52 else f"{participation[:43]}-{digest}"


def account_id(job_uid: str, participant: str) -> str:
    """Key of a participation's account in its PrivacyBudget. Known before the Participation is made: what a job may
    cost is reserved first."""
    return str(uuid.uuid5(uuid.UUID(job_uid), participant))


def budget_mirror_name(budget: str) -> str:
    """ConfigMap in the owner's namespace that holds what a budget has cost at most."""
    return f"budget.{budget}"


def budget_operator_mirror_name(namespace: str, budget: str) -> str:
    """The same in the operator's namespace; a dot stands in no namespace's name."""
    return f"budget.{namespace}.{budget}"


def ledger_page_name(budget: str, digest: str) -> str:
    """ConfigMap in the owner's namespace with one page of the ledger; `digest` is the page's `sha256:…`."""
    return f"ledger.{budget}.{digest.removeprefix('sha256:')[:16]}"


def certificate_name(participation: str, epoch: int) -> str:
    """ConfigMap in the owner's namespace with what one gate of a participation has signed; the newest has all."""
    return f"certificate.{participation}.{epoch}"


CERTIFICATE_KEY: Final = "certificate.json"
ROLE_CERTIFICATE: Final = "certificate"

OWNER_IDENTITY: Final = "hanse-identity"  # Secret in the owner's namespace, key of the gates' signatures
IDENTITY_FILE: Final = "identity.key"
ROLE_IDENTITY: Final = "identity"
