"""The FederatedJob: what to train, with whom, how many rounds.

Written by the data scientist. Its status, which the operator writes, is in `hanse.api.jobstatus`.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hanse.api.aggregation import Aggregation as Aggregation
from hanse.api.aggregation import StopRule as StopRule
from hanse.api.aggregation import StrategyName as StrategyName
from hanse.api.aggregation import Weights as Weights
from hanse.api.compression import Compression
from hanse.api.encryption import Encryption
from hanse.api.encryptionrules import JOB_ENCRYPTION_RULES, encryption_of
from hanse.api.jobrules import CHECKPOINT_EVERY, ON_DROPOUT, ROUND_TIMEOUT, SPEC_RULES
from hanse.api.jobrules import ROUNDS_KEY as ROUNDS_KEY
from hanse.api.jobstatus import MAX_MISSING_NAMES as MAX_MISSING_NAMES
from hanse.api.jobstatus import MAX_PARTICIPANTS as MAX_PARTICIPANTS
from hanse.api.jobstatus import MAX_ROUND_HISTORY as MAX_ROUND_HISTORY
from hanse.api.jobstatus import AdversaryEpsilon as AdversaryEpsilon
from hanse.api.jobstatus import FederatedJobStatus as FederatedJobStatus
from hanse.api.jobstatus import FrozenImages as FrozenImages
from hanse.api.jobstatus import ImageRef as ImageRef
from hanse.api.jobstatus import JobPrivacy as JobPrivacy
from hanse.api.jobstatus import ModelStatus as ModelStatus
from hanse.api.jobstatus import OwnerPrivacy as OwnerPrivacy
from hanse.api.jobstatus import ParticipantStatus as ParticipantStatus
from hanse.api.jobstatus import RoundRecord as RoundRecord
from hanse.api.jobstatus import RoundStatus as RoundStatus
from hanse.api.jobstatus import Summary as Summary
from hanse.api.meta import (
    MAP_BY_NAME,
    UNIQUE,
    ApiModel,
    NamespaceName,
    ObjectName,
    ShortName,
)
from hanse.api.privacy import DifferentialPrivacy, PrivacySpec
from hanse.api.privacyrules import PRIVACY_RULES, asked
from hanse.api.rules import Rule, unique

MAX_ROUNDS = 100_000
#: What may still be edited in spec once status.startTime is set.
MUTABLE_SPEC_FIELDS: Final = ("suspend", "ttlSecondsAfterFinished")

AppPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
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
        description="With differentialPrivacy or encryption: how each gate makes the first model; without it from "
        "seed 0.",
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

    RULES: ClassVar[tuple[Rule, ...]] = SPEC_RULES + PRIVACY_RULES + JOB_ENCRYPTION_RULES

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

    @property
    def encryption(self) -> Encryption | None:
        """How updates are encrypted, where they are."""
        return encryption_of(self)
