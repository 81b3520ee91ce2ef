"""The certificate: what one owner's data went into during one job, signed by the owner's gate.

The gate writes it when a job ends; `hanse certificate verify` checks it offline with the owner's public key.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field

from hanse.api.budget import MAX_RELEASES, Digest, Signature
from hanse.api.job import ImageRef
from hanse.api.meta import ApiModel, PositiveDecimal, ShortName, Uid
from hanse.api.participation import JobRef
from hanse.api.planhash import canonical_hash
from hanse.api.privacy import Adjacency, Adversary, Mechanism, PrivacyPlan, SlotKey, Unit


class CertifiedEpsilon(ApiModel):
    """One figure with all that it needs to mean something."""

    claim: Literal["Released", "Reserved", "Enforced"] = Field(
        description="Released: what left. Reserved: the plan's worst case. Enforced: by the gate alone, any trainer."
    )
    epsilon: PositiveDecimal
    delta: PositiveDecimal
    unit: Unit
    adjacency: Adjacency
    adversaries: list[Adversary] = Field(min_length=1, max_length=3)
    accountant: Literal["RDP", "PLD"]
    bound: str = Field(
        default="", max_length=512, description="PLD only: what the discrete mechanism adds, and where it is derived."
    )


class CertifiedRelease(ApiModel):
    """One release: its slot, and the digest of the bytes that left."""

    slot: SlotKey
    digest: Digest
    at: datetime


class Certificate(ApiModel):
    """What was released about one owner's data in one job."""

    version: Literal[1] = 1
    job: JobRef
    participant: ShortName
    participation: Uid
    dataset: ShortName
    dataset_digest: Digest | None = None
    population: ShortName | None = None
    plan_hash: str = Field(max_length=80)
    plan: PrivacyPlan
    mechanism: Mechanism
    epsilons: list[CertifiedEpsilon] = Field(max_length=16)
    releases: list[CertifiedRelease] = Field(max_length=MAX_RELEASES)
    rounds: int = Field(ge=0, description="Rounds with at least one release.")
    attempts: int = Field(ge=0, description="Releases in all.")
    gate_image: ImageRef | None = None
    trainer_image: ImageRef | None = None
    model_digest: str | None = Field(
        default=None, max_length=80, description="The last global model that the gate saw."
    )
    issued_at: datetime

    @property
    def digest(self) -> str:
        """What is signed: sha256 of the canonical JSON."""
        return canonical_hash(self.to_wire())


class SignedCertificate(ApiModel):
    """The certificate, and the owner's Ed25519 signature over its `digest` (ASCII)."""

    certificate: Certificate
    public_key: str = Field(max_length=1024, description="Ed25519 public key of the owner, PEM.")
    signature: Signature
