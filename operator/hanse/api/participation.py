"""The Participation: the seam between a job and a data owner, one for each of the job's participants.

Written by the operator; it owns the client Job and its Secret there. An owner who deletes it has left the job.
"""

from datetime import datetime

from pydantic import Field

from hanse.api.aggregation import Aggregation
from hanse.api.compression import Compression
from hanse.api.conditions import Condition
from hanse.api.encryption import EncryptionPlan
from hanse.api.job import AdversaryEpsilon, AppPath, ArrayGlob, ConfigKey, ConfigValue, ImageRef
from hanse.api.meta import MAP_BY_TYPE, ApiModel, Message, NamespaceName, PositiveDecimal, ShortName, Uid
from hanse.api.privacy import PrivacyPlan


class JobRef(ApiModel):
    """The job that asks."""

    namespace: NamespaceName = Field(description="Namespace of the FederatedJob.")
    name: ShortName = Field(description="Name of the FederatedJob.")
    uid: Uid = Field(description="uid of the FederatedJob.")


class LocalParticipantRef(ApiModel):
    """The Participant, in the same namespace."""

    name: ShortName = Field(description="Name of the Participant.")


class ParticipationPlan(ApiModel):
    """What is asked, in full and readable."""

    participant: ShortName = Field(description="Name of the participant within the job.")
    index: int = Field(ge=0, le=1023, description="Index of the participant in the job, from 0 (partition-id).")
    participants: int = Field(ge=1, le=1024, description="Number of participants in the job (num-partitions).")
    dataset: ShortName = Field(description="Dataset that is used.")
    image: ImageRef = Field(description="Image of the trainer.")
    gate_image: ImageRef = Field(description="Image of the gate.")
    client_app: AppPath = Field(description="ClientApp, as module:attribute.")
    config: dict[ConfigKey, ConfigValue] = Field(
        default_factory=dict, max_length=64, description="Run config of the app."
    )
    rounds: int = Field(ge=1, le=100_000, description="Rounds asked for.")
    quorum: int | None = Field(
        default=None, ge=1, le=1024, description="Smallest number of updates that become a round's model."
    )
    server_address: str = Field(max_length=320, description="host:port of the job's front.")
    ca_certificate: str = Field(max_length=8192, description="The job's CA certificate, PEM.")
    active_deadline_seconds: int | None = Field(
        default=None, ge=1, description="Hard deadline of the client Job, for an app that will not stop."
    )
    backoff_limit: int = Field(default=3, ge=0, le=100, description="Retries of the client pod.")
    privacy: PrivacyPlan | None = Field(default=None, description="What may leave the gate; nothing else does.")
    encryption: EncryptionPlan | None = Field(
        default=None, description="How updates are encrypted, who holds the key and who gets the model."
    )
    population: ShortName | None = Field(default=None, description="PrivacyBudget in this namespace that is charged.")
    records: int | None = Field(default=None, ge=1, description="Number of records that the owner declared.")
    compression: Compression | None = Field(default=None, description="How updates are made smaller.")
    aggregation: Aggregation = Field(
        default_factory=Aggregation,
        description="How the server makes a model of the updates: how far it may step in a round.",
    )
    smallest_batch: int | None = Field(
        default=None, ge=1, description="Unit Record only: smallest expected batch of any participant."
    )
    personal_layers: list[ArrayGlob] = Field(
        default_factory=list, max_length=64, description="Arrays of the model that never leave, by name (* and ?)."
    )
    initial_seed: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="Seed of the first model, which the gate makes itself."
    )


class ParticipationSpec(ApiModel):
    """What is asked of the owner."""

    job_ref: JobRef = Field(description="The job that asks.")
    participant_ref: LocalParticipantRef = Field(description="The Participant that is asked.")
    plan: ParticipationPlan = Field(description="What is asked, in full.")
    plan_hash: str = Field(max_length=80, description="Canonical hash of the plan.")
    suspend: bool = Field(default=False, description="True removes the client Job; false creates it again.")


class ContainerFailure(ApiModel):
    """The last failed container, with its own words: they stay in the owner's namespace."""

    container: str = Field(max_length=63, description="Name of the container.")
    reason: str = Field(max_length=64, description="Reason from the published list.")
    exit_code: int | None = Field(default=None, description="Exit code.")
    finished_at: datetime | None = Field(default=None, description="When it ended.")
    log: str = Field(default="", max_length=4096, description="Its last lines.")


class ParticipationEpsilon(ApiModel):
    """What this owner's budget pays for this job, at the budget's delta."""

    reserved: PositiveDecimal = Field(description="Worst case that was reserved.")
    spent: PositiveDecimal = Field(description="What was released, against the adversary of the owner's policy.")
    against: list[AdversaryEpsilon] = Field(
        default_factory=list, max_length=4, description="What was released, against each adversary."
    )


class ParticipationStatus(ApiModel):
    """Written by the operator alone."""

    observed_generation: int | None = Field(default=None, ge=0, description="Generation that this status is about.")
    public_key: str | None = Field(default=None, max_length=1024, description="SuperNode public key, PEM (P-384).")
    client_job: str | None = Field(default=None, max_length=63, description="Name of the client Job.")
    rounds_contributed: int = Field(default=0, ge=0, description="Rounds that hold an update of this owner.")
    epsilon: ParticipationEpsilon | None = Field(default=None, description="What the owner's budget pays.")
    failure: ContainerFailure | None = Field(default=None, description="The last failed container.")
    message: Message = Field(default="", description="What happens now.")
    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, description="The truth, in conditions.", json_schema_extra=MAP_BY_TYPE
    )
