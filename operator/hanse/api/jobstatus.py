"""The status of a FederatedJob: how far it is, what each participant does, what it has cost. Written by the operator.

People, `hanse.api.progress` and the command line read it; `hanse.api.job` has the spec.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hanse.api.conditions import Condition
from hanse.api.encryption import EncryptionPlan, ModelRelease, Scheme
from hanse.api.meta import MAP_BY_TYPE, ApiModel, Decimal, Message, ObjectName, PositiveDecimal, ShortName
from hanse.api.privacy import Adjacency, Adversary, Mechanism, PrivacyPlan, Unit

MAX_PARTICIPANTS = 1024
MAX_ROUND_HISTORY = 20
MAX_MISSING_NAMES = 10

ImageRef = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]


class Summary(ApiModel):
    """For the printer columns only; derived from the rest, read by nobody."""

    state: str = Field(default="Pending", max_length=32, description="One word for the column STATE.")
    round: str = Field(default="-", max_length=32, description="Completed and total rounds, 12/20.")
    participants: str = Field(default="-", max_length=32, description="Ready and total participants, 3/3.")
    metric: str = Field(default="-", max_length=64, description="Newest evaluation metric, auc=0.771.")
    reason: str = Field(default="-", max_length=64, description="Reason of the condition that explains the state.")
    eta: str = Field(default="-", max_length=32, description="Estimated time left.")
    epsilon: str = Field(default="-", max_length=32, description="Epsilon spent and asked, 1.8/3.0.")
    encryption: str = Field(default="-", max_length=8, description="Scheme under which updates leave, BFV.")


class RoundStatus(ApiModel):
    """How far the job is."""

    completed: int = Field(ge=0, description="Rounds completed.")
    total: int = Field(ge=0, description="Rounds asked for.")
    started_at: datetime | None = Field(default=None, description="When the running round started.")
    eta_seconds: int | None = Field(default=None, ge=0, description="Estimated seconds left.")


class RoundRecord(ApiModel):
    """One finished round."""

    number: int = Field(ge=1, description="Number of the round, from 1.")
    contributed: int = Field(ge=0, le=MAX_PARTICIPANTS, description="How many updates are in it.")
    missing: list[ShortName] = Field(
        default_factory=list, max_length=MAX_MISSING_NAMES, description="Who is not in it (at most 10 names)."
    )
    reasons: dict[ShortName, Annotated[str, Field(max_length=64)]] = Field(
        default_factory=dict, max_length=MAX_MISSING_NAMES, description="Why they are not, by name."
    )
    seconds: Decimal = Field(description="Duration of the round in seconds.")
    metrics: dict[Annotated[str, Field(max_length=63)], Decimal] = Field(
        default_factory=dict, max_length=16, description="Evaluation metrics, record-weighted means."
    )
    model_digest: str | None = Field(default=None, max_length=80, description="sha256 of the global model's arrays.")
    bytes: int | None = Field(default=None, ge=0, description="Bytes on the wire of all updates of the round.")


class ModelStatus(ApiModel):
    """Where the model is."""

    claim: ObjectName = Field(description="PersistentVolumeClaim that holds the model.")
    path: str = Field(max_length=256, description="Path of the file in the claim.")
    digest: str = Field(max_length=80, description="sha256 of the file.")
    bytes: int = Field(default=0, ge=0, description="Size of the file in bytes.")


class ParticipantStatus(ApiModel):
    """One participant, as the job sees it."""

    name: ShortName = Field(description="Name within this job.")
    ready: bool = Field(default=False, description="Whether its gate is connected.")
    last_seen: datetime | None = Field(default=None, description="When its gate last answered.")
    rounds_contributed: int = Field(default=0, ge=0, description="Rounds that hold an update of it.")
    reason: str = Field(default="Pending", max_length=64, description="Why it is ready or not.")
    exit_code: int | None = Field(default=None, description="Exit code of its last failed container.")
    message: Message = Field(default="", description="Details, and where the owner looks; never a log line.")
    epsilon_spent: PositiveDecimal | None = Field(default=None, description="Epsilon of what its gate released.")


class AdversaryEpsilon(ApiModel):
    """What one adversary may have learnt so far: the most that any participant spent."""

    adversary: Adversary = Field(description="Outsiders, OneParticipant, CollusionThreshold or ServerAndOne.")
    spent: PositiveDecimal = Field(description="Epsilon of what was released, at delta.")


class OwnerPrivacy(ApiModel):
    """What one owner had declared when the job started: later edits do not change what was reserved."""

    population: ShortName = Field(description="PrivacyBudget in the owner's namespace that is charged.")
    records: int | None = Field(default=None, ge=1, description="Declared number of records.")
    adversary: Adversary = Field(description="Against whom its budget is charged.")


class JobPrivacy(ApiModel):
    """What the job may release and what it has, how updates are encrypted and who can read them."""

    unit: Unit | None = Field(default=None, description="Whose data is hidden.")
    mechanism: Mechanism | None = Field(default=None, description="Who adds the noise.")
    adjacency: Adjacency | None = Field(default=None, description="AddRemove (unit Record) or Replace (unit Silo).")
    accountant: Literal["RDP"] | None = Field(default=None, description="How losses are composed.")
    asked: PositiveDecimal | None = Field(default=None, description="Epsilon of the whole job, at delta.")
    delta: PositiveDecimal | None = Field(default=None, description="Failure probability.")
    epsilon: list[AdversaryEpsilon] = Field(
        default_factory=list, max_length=4, description="Spent so far, against each adversary."
    )
    plan: PrivacyPlan | None = Field(
        default=None, description="Resolved at the start; each participant's has its own expectedBatch."
    )
    owners: dict[ShortName, OwnerPrivacy] = Field(
        default_factory=dict, max_length=MAX_PARTICIPANTS, description="Each participant's declarations, by its name."
    )
    encryption: Scheme = Field(default="None", description="Scheme under which updates leave the gates.")
    key_maker: ShortName | None = Field(default=None, description="Participant whose gate makes the key.")
    key_fingerprint: str | None = Field(
        default=None, max_length=80, description="Of the job's key, as the server tells it; gates check it themselves."
    )
    key_holders: list[ShortName] = Field(
        default_factory=list,
        max_length=MAX_PARTICIPANTS,
        description="Participants whose gates hold the key, as the server tells it.",
    )
    collusion_threshold: int | None = Field(
        default=None, ge=0, le=1022, description="Participants that may lie, and still only whole sums are decrypted."
    )
    model_release: ModelRelease | None = Field(default=None, description="Who gets the plain model at the end.")
    encryption_plan: EncryptionPlan | None = Field(
        default=None, description="Resolved at the start, the same for every participant, with pinned identities."
    )

    def plan_of(self, participant: str) -> PrivacyPlan | None:
        """The plan of one participant; None without differential privacy. Raises KeyError for a stranger."""
        if self.plan is None:
            return None
        owner = self.owners[participant]
        return self.plan.for_owner(owner.records, owner.adversary)


class FrozenImages(ApiModel):
    """Images resolved at the start: a new operator version never rewrites a running job's pods."""

    server: ImageRef = Field(description="Image of front, SuperLink and launcher.")
    gate: ImageRef = Field(description="Image of the gate.")
    trainer: ImageRef = Field(description="Image of the trainer: spec.app.image.")


class FederatedJobStatus(ApiModel):
    """What is known; written by the operator alone."""

    observed_generation: int | None = Field(default=None, ge=0, description="Generation that this status is about.")
    start_time: datetime | None = Field(default=None, description="When the job was accepted; then spec is frozen.")
    completion_time: datetime | None = Field(default=None, description="When it completed or failed.")
    plan_hash: str | None = Field(default=None, max_length=80, description="Canonical hash of what was started.")
    images: FrozenImages | None = Field(default=None, description="Images frozen at the start.")
    active_since: datetime | None = Field(default=None, description="Since when it runs without being suspended.")
    active_seconds: int = Field(default=0, ge=0, description="Unsuspended seconds before activeSince.")
    starts: int = Field(default=0, ge=0, description="How often it was started or resumed.")
    summary: Summary = Field(default_factory=Summary, description="For the columns only.")
    round: RoundStatus | None = Field(default=None, description="How far the job is.")
    participants: list[ParticipantStatus] = Field(
        default_factory=list, max_length=MAX_PARTICIPANTS, description="Each participant."
    )
    rounds: list[RoundRecord] = Field(
        default_factory=list, max_length=MAX_ROUND_HISTORY, description="The newest 20 rounds."
    )
    participations: dict[ShortName, Annotated[str, Field(max_length=64)]] = Field(
        default_factory=dict,
        max_length=MAX_PARTICIPANTS,
        description="uid of each participant's Participation; one that is gone has left and is not made anew.",
    )
    privacy: JobPrivacy | None = Field(default=None, description="What may be released, and what was.")
    model: ModelStatus | None = Field(default=None, description="Where the model is.")
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, description="The truth, in conditions.", json_schema_extra=MAP_BY_TYPE
    )
