"""The certificate: what one owner's data went into during one job, signed by the owner's gate.

A gate writes one when it ends (`runtime.gate.certify`); `hanse certificate verify` checks it offline with the owner's
public key. Gates of one participation follow each other: the certificate of the highest epoch lists all releases.
"""

import json
from datetime import datetime
from typing import Literal

from pydantic import Field

from hanse.api import names
from hanse.api.budget import MAX_RELEASES, Digest, Signature
from hanse.api.job import ImageRef
from hanse.api.meta import ApiModel, ObjectName, PositiveDecimal, ShortName, Uid
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
    adversaries: list[Adversary] = Field(min_length=1, max_length=4)
    accountant: Literal["RDP"]


class CertifiedRelease(ApiModel):
    """One release: its slot, and the digest of the bytes that left."""

    slot: SlotKey
    digest: Digest
    at: datetime
    values: int = Field(ge=1, description="Noised integers in it.")
    noise: PositiveDecimal = Field(
        description="Standard deviation of the noise that this gate added to each, in grid steps or counts."
    )
    enforced_multiplier: PositiveDecimal | None = Field(
        default=None,
        description="Record only: this gate's noise over the largest L2 distance of two values that it could release.",
    )


class Certificate(ApiModel):
    """What was released about one owner's data in one job."""

    version: Literal[1] = 1
    job: JobRef
    participant: ShortName
    participation: ObjectName
    account: Uid = Field(description="Account in the owner's PrivacyBudget: made from job uid and participant.")
    epoch: int = Field(ge=1, description="Which gate of the participation signs; a later one lists all releases too.")
    final: bool = Field(description="Whether the job had ended for the gate: it releases nothing afterwards.")
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
    gate_image: ImageRef | None = Field(default=None, description="As agreed with the owner; `hanse run` has none.")
    trainer_image: ImageRef | None = Field(default=None, description="The same of the trainer.")
    model_digest: str | None = Field(
        default=None, max_length=80, description="The last global model that the gate answered about: shared arrays."
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

    @property
    def name(self) -> str:
        """Of the object or file that holds it."""
        return names.certificate_name(self.certificate.participation, self.certificate.epoch)

    def to_text(self) -> str:
        """JSON; 4,096 releases are less than a ConfigMap holds."""
        return json.dumps(self.to_wire(), indent=None if len(self.certificate.releases) > MAX_RELEASES // 8 else 1)
