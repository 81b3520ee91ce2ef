"""The FederatedJob: what to train, with whom, how many rounds.

Written by the data scientist, its status by the operator.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hanse.api.aggregation import Aggregation as Aggregation
from hanse.api.aggregation import StopRule as StopRule
from hanse.api.aggregation import StrategyName as StrategyName
from hanse.api.aggregation import Weights as Weights
from hanse.api.compression import Compression
from hanse.api.conditions import Condition
from hanse.api.jobrules import CHECKPOINT_EVERY, ON_DROPOUT, ROUND_TIMEOUT, SPEC_RULES
from hanse.api.jobrules import ROUNDS_KEY as ROUNDS_KEY
from hanse.api.meta import (
    MAP_BY_NAME,
    MAP_BY_TYPE,
    UNIQUE,
    ApiModel,
    Decimal,
    Message,
    NamespaceName,
    ObjectName,
    PositiveDecimal,
    ShortName,
)
from hanse.api.privacy import Adjacency, Adversary, DifferentialPrivacy, Mechanism, PrivacyPlan, PrivacySpec, Unit
from hanse.api.privacyrules import PRIVACY_RULES, asked
from hanse.api.rules import Rule, unique

MAX_PARTICIPANTS = 1024
MAX_ROUND_HISTORY = 20
MAX_MISSING_NAMES = 10
MAX_ROUNDS = 100_000
#: What may still be edited in spec once status.startTime is set.
MUTABLE_SPEC_FIELDS: Final = ("suspend", "ttlSecondsAfterFinished")

AppPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
ImageRef = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
ConfigKey = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)]
ConfigValue = Annotated[str, Field(max_length=1024)]

OnDropout = Literal["SkipRound", "Wait", "Fail"]


#: Name of a model's array, with the wildcards * and ?.
ArrayGlob = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.*?/-]+$")]


class InitialModel(ApiModel):
    """How the first global model is made: by every gate itself, without data."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the app's initial arrays.")


class AppSpec(ApiModel):
    """The code that is trained: an image and, in it, a Flower app."""

    RULES: ClassVar[tuple[Rule, ...]] = (unique("personalLayers", "personal_layers"),)

    image: ImageRef = Field(description="Image that holds the ClientApp; by digest unless the operator allows tags.")
    client_app: AppPath = Field(
        default="hanse.runtime.apps.tabular:app",
        description="Flower ClientApp (Message API) in the image, as module:attribute.",
    )
    server_app: AppPath | None = Field(
        default=None,
        description=(
            "Your own Flower ServerApp in the image, as module:attribute; without it the platform's. "
            "It reads spec.rounds as num-server-rounds in its run config."
        ),
    )
    config: dict[ConfigKey, ConfigValue] = Field(
        default_factory=dict, max_length=64, description="Run config handed to the app, as strings."
    )
    personal_layers: list[ArrayGlob] = Field(
        default_factory=list,
        max_length=64,
        description="Arrays of the model that stay with each participant, by name; * and ? are wildcards.",
        json_schema_extra=UNIQUE,
    )
    initial_model: InitialModel | None = Field(
        default=None,
        description="With differentialPrivacy: how each gate makes the first model; without it from seed 0.",
    )


class ParticipantRef(ApiModel):
    """Where a Participant is."""

    namespace: NamespaceName = Field(description="Namespace of the data owner.")
    name: ShortName = Field(description="Name of the Participant there.")


class JobParticipant(ApiModel):
    """One participant of the job."""

    name: ShortName = Field(description="Name within this job, unique.")
    participant_ref: ParticipantRef = Field(description="The Participant that takes part.")
    dataset: ShortName = Field(description="Which of the Participant's datasets is used.")


class CheckpointSpec(ApiModel):
    """When the server saves what it needs to resume."""

    every_rounds: int = Field(default=CHECKPOINT_EVERY, ge=1, le=1000, description="Save after every so many rounds.")


class OutputStorage(ApiModel):
    """A volume that belongs to the job and is deleted with it."""

    size: str = Field(
        default="1Gi",
        pattern=r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$",
        max_length=16,
        description="Size of the volume.",
    )
    storage_class_name: ObjectName | None = Field(
        default=None, description="StorageClass of the volume; without it the cluster's default."
    )


class OutputSpec(ApiModel):
    """Where the model goes: `claimName` (yours, kept) or `storage` (the job's, deleted with it)."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(has(self.claimName) && has(self.storage))",
            message="set claimName (a claim of yours, kept) or storage (the job's own), not both",
            holds=lambda o: o.claim_name is None or o.storage is None,
        ),
    )

    claim_name: ObjectName | None = Field(
        default=None,
        description="PersistentVolumeClaim in the job's namespace; kept when the job is deleted.",
    )
    storage: OutputStorage | None = Field(default=None, description="A volume of the job's own, deleted with it.")


class FederatedJobSpec(ApiModel):
    """What to train, with whom, how many rounds."""

    RULES: ClassVar[tuple[Rule, ...]] = SPEC_RULES + PRIVACY_RULES

    app: AppSpec = Field(description="The code that is trained.")
    participants: list[JobParticipant] = Field(
        min_length=1,
        max_length=MAX_PARTICIPANTS,
        description="Who takes part; names are unique.",
        json_schema_extra=MAP_BY_NAME,
    )
    quorum: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PARTICIPANTS,
        description="Smallest number of participants whose updates make a round; without it all of them.",
    )
    rounds: int = Field(ge=1, le=MAX_ROUNDS, description="Number of federated rounds.")
    start_timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="How long to wait for all; then start with the quorum, and fail below it.",
    )
    round_timeout_seconds: int = Field(
        default=ROUND_TIMEOUT, ge=1, le=86_400, description="How long a round waits for its replies."
    )
    on_dropout: OnDropout = Field(
        default=ON_DROPOUT,
        description=(
            "When a round misses a participant but reaches the quorum the round counts. Below the quorum: SkipRound "
            "repeats the round with who is there (up to startTimeoutSeconds without a quorum), Wait waits for the "
            "quorum without limit, Fail fails the job as soon as any participant is missing."
        ),
    )
    stop_when: list[StopRule] = Field(
        default_factory=list, max_length=8, description="Stop early when any of these holds after a round."
    )
    aggregation: Aggregation = Field(
        default_factory=Aggregation, description="How updates become the next global model."
    )
    privacy: PrivacySpec | None = Field(default=None, description="What protects the owners' data.")
    compression: Compression | None = Field(default=None, description="How updates are made smaller.")
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec, description="When the server saves its state.")
    output: OutputSpec = Field(default_factory=OutputSpec, description="Where the model goes.")
    suspend: bool = Field(default=False, description="True stops all pods; false goes on from the checkpoint.")
    active_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="The job fails after so much time that it was not suspended.",
    )
    backoff_limit: int = Field(
        default=3,
        ge=0,
        le=100,
        description="How often a failed run is resumed, in all; evictions and disruptions do not count.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None, ge=0, le=31_536_000, description="The job deletes itself so long after it has finished."
    )

    @property
    def effective_quorum(self) -> int:
        """The quorum, or all participants where none is given."""
        return self.quorum if self.quorum is not None else len(self.participants)

    @property
    def differential_privacy(self) -> DifferentialPrivacy | None:
        """What is asked of the owners' privacy budgets, if anything."""
        return asked(self)


class Summary(ApiModel):
    """For the printer columns only; derived from the rest, read by nobody."""

    state: str = Field(default="Pending", max_length=32, description="One word for the column STATE.")
    round: str = Field(default="-", max_length=32, description="Completed and total rounds, 12/20.")
    participants: str = Field(default="-", max_length=32, description="Ready and total participants, 3/3.")
    metric: str = Field(default="-", max_length=64, description="Newest evaluation metric, auc=0.771.")
    reason: str = Field(default="-", max_length=64, description="Reason of the condition that explains the state.")
    eta: str = Field(default="-", max_length=32, description="Estimated time left.")
    epsilon: str = Field(default="-", max_length=32, description="Epsilon spent and asked, 1.8/3.0.")


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

    adversary: Adversary = Field(description="Outsiders, OneParticipant or ServerAndOne.")
    spent: PositiveDecimal = Field(description="Epsilon of what was released, at delta.")


class OwnerPrivacy(ApiModel):
    """What one owner had declared when the job started: later edits do not change what was reserved."""

    population: ShortName = Field(description="PrivacyBudget in the owner's namespace that is charged.")
    records: int | None = Field(default=None, ge=1, description="Declared number of records.")
    adversary: Adversary = Field(description="Against whom its budget is charged.")


class JobPrivacy(ApiModel):
    """What the job may release, and what it has."""

    unit: Unit = Field(description="Whose data is hidden.")
    mechanism: Mechanism = Field(description="Who adds the noise.")
    adjacency: Adjacency = Field(description="AddRemove (unit Record) or Replace (unit Silo).")
    accountant: Literal["RDP"] = Field(description="How losses are composed.")
    asked: PositiveDecimal = Field(description="Epsilon of the whole job, at delta.")
    delta: PositiveDecimal = Field(description="Failure probability.")
    epsilon: list[AdversaryEpsilon] = Field(
        default_factory=list, max_length=3, description="Spent so far, against each adversary."
    )
    plan: PrivacyPlan = Field(description="Resolved at the start; each participant's has its own expectedBatch.")
    owners: dict[ShortName, OwnerPrivacy] = Field(
        default_factory=dict, max_length=MAX_PARTICIPANTS, description="Each participant's declarations, by its name."
    )

    def plan_of(self, participant: str) -> PrivacyPlan:
        """The plan of one participant. Raises KeyError for one that the job does not have."""
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
