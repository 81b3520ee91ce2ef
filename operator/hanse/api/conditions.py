"""Condition types and the one list of reasons. The operator writes them, people and `kubectl wait` read them."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from hanse.api.meta import ApiModel, Message

ConditionStatus = Literal["True", "False", "Unknown"]


class JobCondition(StrEnum):
    """Conditions of a FederatedJob, all present from the first visit (`Unknown` until known)."""

    ACCEPTED = "Accepted"
    QUOTA_RESERVED = "QuotaReserved"
    SERVER_READY = "ServerReady"
    PARTICIPANTS_READY = "ParticipantsReady"
    KEYS_READY = "KeysReady"
    FULL_PARTICIPATION = "FullParticipation"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ParticipantCondition(StrEnum):
    """Conditions of a Participant."""

    READY = "Ready"
    DATASETS_AVAILABLE = "DatasetsAvailable"
    POLICY_VALID = "PolicyValid"


class ParticipationCondition(StrEnum):
    """Conditions of a Participation."""

    POLICY_SATISFIED = "PolicySatisfied"
    BUDGET_RESERVED = "BudgetReserved"
    CLIENT_READY = "ClientReady"
    COMPLETE = "Complete"
    FAILED = "Failed"


class BudgetCondition(StrEnum):
    """Conditions of a PrivacyBudget."""

    READY = "Ready"


class Reason(StrEnum):
    """Why a condition has its status. CamelCase, stable, one list for all kinds."""

    PENDING = "Pending"
    AS_EXPECTED = "AsExpected"
    # acceptance
    ACCEPTED = "Accepted"
    PARTICIPANT_NOT_FOUND = "ParticipantNotFound"
    DATASET_NOT_DECLARED = "DatasetNotDeclared"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    NAMESPACE_NOT_FOUND = "NamespaceNotFound"
    DUPLICATE_PARTICIPANT = "DuplicateParticipant"
    IMAGE_NOT_PINNED = "ImageNotPinned"
    INVALID_SPEC = "InvalidSpec"
    PERMISSION_DENIED = "PermissionDenied"
    # privacy, at acceptance and in a PrivacyBudget
    PRIVACY_REQUIRED = "PrivacyRequired"
    POPULATION_NOT_DECLARED = "PopulationNotDeclared"
    RECORDS_NOT_DECLARED = "RecordsNotDeclared"
    RANGES_NOT_DECLARED = "RangesNotDeclared"
    BUDGET_NOT_FOUND = "BudgetNotFound"
    BUDGET_INVALID = "BudgetInvalid"
    BUDGET_EXCEEDED = "BudgetExceeded"
    BUDGET_RESERVED = "BudgetReserved"
    BUDGET_NOT_RESERVED = "BudgetNotReserved"
    BUDGET_DAMAGED = "BudgetDamaged"
    UNIT_NOT_ALLOWED = "UnitNotAllowed"
    DELTA_TOO_LARGE = "DeltaTooLarge"
    EPSILON_TOO_LARGE = "EpsilonTooLarge"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    APP_NOT_ALLOWED = "AppNotAllowed"
    # encryption, at acceptance
    ENCRYPTION_REQUIRED = "EncryptionRequired"
    TOO_FEW_PARTICIPANTS = "TooFewParticipants"
    MODEL_RELEASE_NOT_ALLOWED = "ModelReleaseNotAllowed"
    MODELS_NOT_DECLARED = "ModelsNotDeclared"
    IDENTITY_NOT_READY = "IdentityNotReady"
    # scheduling and start
    QUEUED = "Queued"
    ADMITTED = "Admitted"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    VOLUME_NOT_READY = "VolumeNotReady"
    POD_REFUSED = "PodRefused"
    NAME_TAKEN = "NameTaken"
    STARTING = "Starting"
    WAITING_FOR_PARTICIPANTS = "WaitingForParticipants"
    READY = "Ready"
    RUNNING = "Running"
    NOT_ENCRYPTED = "NotEncrypted"
    WAITING_FOR_KEYS = "WaitingForKeys"
    KEYS_HELD = "KeysHeld"
    ALL_PARTICIPATE = "AllParticipate"
    SUBSET_ONLY = "SubsetOnly"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    NOT_SUSPENDED = "NotSuspended"
    # end
    COMPLETED = "Completed"
    STOPPED_BY_METRIC = "StoppedByMetric"
    QUORUM_NOT_REACHED = "QuorumNotReached"
    QUORUM_LOST = "QuorumLost"
    PARTICIPANT_DROPPED = "ParticipantDropped"
    PARTICIPANT_LEFT = "ParticipantLeft"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    NOT_COMPLETED = "NotCompleted"
    NOT_FAILED = "NotFailed"
    # causes of failure
    CONFIG_INVALID = "ConfigInvalid"
    APP_IMPORT_FAILED = "AppImportFailed"
    FLOWER_VERSION_MISMATCH = "FlowerVersionMismatch"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_INVALID = "DatasetInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    SERVER_LOST = "ServerLost"
    SERVER_APP_FAILED = "ServerAppFailed"
    GATE_FAILED = "GateFailed"
    SIDECAR_CRASH_LOOP = "SidecarCrashLoop"
    FEATURE_MISMATCH = "FeatureMismatch"
    DRAINED = "Drained"
    CHECKPOINT_INVALID = "CheckpointInvalid"
    OUTPUT_FAILED = "OutputFailed"
    KEY_LOST = "KeyLost"
    MODEL_NOT_RELEASED = "ModelNotReleased"
    AUTHORITY_LOST = "AuthorityLost"
    CONTAINER_KILLED = "ContainerKilled"
    CONTAINER_FAILED = "ContainerFailed"
    INTERNAL_ERROR = "InternalError"
    # a reply that was refused or did not come, for one round
    NON_FINITE_UPDATE = "NonFiniteUpdate"
    NON_FINITE_METRIC = "NonFiniteMetric"
    UPDATE_MISMATCH = "UpdateMismatch"
    APP_ERROR = "AppError"
    TRAINER_DIED = "TrainerDied"
    GATE_RESTARTED = "GateRestarted"
    ROUND_TIMEOUT = "RoundTimeout"
    NOT_CONNECTED = "NotConnected"
    NOT_ALLOWED_IN_REPLY = "NotAllowedInReply"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    LEASE_LOST = "LeaseLost"
    LEDGER_UNAVAILABLE = "LedgerUnavailable"
    ALREADY_RELEASED = "AlreadyReleased"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    DATASET_MOVED = "DatasetMoved"
    INITIAL_MODEL_MISMATCH = "InitialModelMismatch"
    STEP_TOO_LARGE = "StepTooLarge"
    # an encrypted job: what a gate refuses
    KEY_NOT_HELD = "KeyNotHeld"
    KEY_REFUSED = "KeyRefused"
    SIGNATURE_INVALID = "SignatureInvalid"
    SUM_REFUSED = "SumRefused"
    TOO_FEW_CONTRIBUTIONS = "TooFewContributions"
    STALE_ROUND = "StaleRound"
    SECOND_SUM = "SecondSum"
    STATE_MISSING = "StateMissing"
    STATE_REFUSED = "StateRefused"
    MODEL_MISMATCH = "ModelMismatch"
    RELEASE_REFUSED = "ReleaseRefused"
    CIPHERTEXT_INVALID = "CiphertextInvalid"


class Condition(ApiModel):
    """As metav1.Condition."""

    type: str = Field(max_length=316, description="Type of the condition, CamelCase.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="metadata.generation that the condition was set for."
    )
    last_transition_time: datetime = Field(description="When the status last changed.")
    reason: str = Field(min_length=1, max_length=64, description="Why, as one CamelCase word from the published list.")
    message: Message = Field(description="Details and the next step, for a person.")
