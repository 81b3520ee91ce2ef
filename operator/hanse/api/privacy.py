"""Differential privacy of a job: what is asked (FederatedJob.spec.privacy) and the plan that all enforce.

The data scientist writes the spec; the operator (or `hanse run`) resolves it into a `PrivacyPlan`, which the owner
reads, the gate enforces and the accountant computes from. What the numbers mean: docs/privacy-accounting.md.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field

from hanse.api.encryption import ENCRYPTION_RULES, Encryption, ModelRelease
from hanse.api.meta import ApiModel, PositiveDecimal
from hanse.api.rules import Rule, between

#: A private job's rounds and attempts are bounded: each is an entry in the owner's PrivacyBudget (etcd: 1.5 MiB).
MAX_PRIVATE_ROUNDS: Final = 1000
MAX_ATTEMPTS: Final = 10
MAX_EPSILON: Final = "1000.0"
#: Above it a mechanism that publishes one record in a hundred would count as private.
MAX_DELTA: Final = "0.01"
ACCOUNTANT: Final = "RDP"
#: Shares of distributed noise in one sum: as many as participants of the largest engine.
MAX_SHARES: Final = 1024

Unit = Literal["Record", "Silo"]
Mechanism = Literal["Local", "Distributed"]
Adjacency = Literal["AddRemove", "Replace"]
#: Against whom an epsilon counts. With mechanism Local each of them sees every update alone: one epsilon for all. With
#: Distributed (`hanse.dp.shares`): who sees the models; one participant; collusionThreshold participants together; the
#: server together with any one participant. What each may get to see is counted in `hanse.dp.shares`.
Adversary = Literal["Outsiders", "OneParticipant", "CollusionThreshold", "ServerAndOne"]
ScheduleKind = Literal["Constant", "Linear", "Geometric", "List"]

SLOT_PATTERN: Final = r"^(Train|Statistics|Evaluate)-[0-9]{1,4}-[0-9]{1,2}$"
SlotKey = Annotated[str, Field(pattern=SLOT_PATTERN, max_length=24)]


def adjacency(unit: Unit) -> Adjacency:
    """The neighbouring data sets of a unit: one record more or less; one silo's whole data replaced."""
    return "AddRemove" if unit == "Record" else "Replace"


class ReleaseKind(StrEnum):
    """What leaves a gate and is charged."""

    TRAIN = "Train"
    STATISTICS = "Statistics"
    EVALUATE = "Evaluate"


@dataclass(frozen=True, order=True)
class Slot:
    """One release that a plan allows: attempts count from 1; statistics have round 0."""

    kind: ReleaseKind
    round: int
    attempt: int = 1

    @property
    def key(self) -> str:
        """Key in a ledger's account, for example `Train-12-1`."""
        return f"{self.kind.value}-{self.round}-{self.attempt}"

    @classmethod
    def parse(cls, key: str) -> Self:
        """The slot of a key. Raises ValueError for what is none."""
        if not re.match(SLOT_PATTERN, key):
            raise ValueError(f"{key!r} is not a release slot")
        kind, number, attempt = key.split("-")
        return cls(ReleaseKind(kind), int(number), int(attempt))


# --- what is asked ---------------------------------------------------------------------------------------------------


#: The API server asks a default's rules before it fills in the defaults below it.
_KIND: Final = "(has(self.kind) ? self.kind : 'Constant')"


class Schedule(ApiModel):
    """How the noise changes over the rounds; every schedule is composed exactly."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"has(self.finalRatio) == ({_KIND} in ['Linear', 'Geometric'])",
            message="finalRatio belongs to kinds Linear and Geometric, which need it: set it there, or remove it",
            holds=lambda s: (s.final_ratio is not None) == (s.kind in ("Linear", "Geometric")),
            field="finalRatio",
        ),
        Rule(
            cel=f"(has(self.multipliers) && size(self.multipliers) > 0) == ({_KIND} == 'List')",
            message="multipliers belong to kind List, which needs them: one for each round, or remove them",
            holds=lambda s: bool(s.multipliers) == (s.kind == "List"),
            field="multipliers",
        ),
        Rule(
            cel="!has(self.multipliers) || self.multipliers.all(m, double(m) > 0.0 && double(m) <= 1000.0)",
            message="multipliers must be greater than 0 and at most 1000: a round without noise is not private",
            holds=lambda s: all(0 < float(m) <= 1000 for m in s.multipliers),
            field="multipliers",
        ),
        between("finalRatio", "final_ratio", low="0.0", high="1000.0", open_low=True),
    )

    kind: ScheduleKind = Field(
        default="Constant", description="Constant, Linear, Geometric, or List: one factor for each round."
    )
    final_ratio: PositiveDecimal | None = Field(
        default=None,
        description="Linear and Geometric only: noise of the last round over noise of the first; 0.5 halves it.",
    )
    multipliers: list[PositiveDecimal] = Field(
        default_factory=list,
        max_length=MAX_PRIVATE_ROUNDS,
        description="List only: relative noise of each round, as many as rounds.",
    )


def _share_rule() -> Rule:
    return between("epsilonShare", "epsilon_share", low="0.0", high="0.9", open_low=True)


class PrivateStatistics(ApiModel):
    """Federated statistics from noised histograms over the ranges that owners declare; released once."""

    RULES: ClassVar[tuple[Rule, ...]] = (_share_rule(),)

    epsilon_share: PositiveDecimal = Field(description="Share of the job's epsilon, greater than 0 and at most 0.9.")
    bins: int = Field(default=32, ge=2, le=256, description="Bins of each histogram.")


class PrivateEvaluation(ApiModel):
    """Evaluation metrics from noised histograms of the scores."""

    RULES: ClassVar[tuple[Rule, ...]] = (_share_rule(),)

    epsilon_share: PositiveDecimal = Field(description="Share of the job's epsilon, greater than 0 and at most 0.9.")
    every_rounds: int = Field(
        default=1, ge=1, le=MAX_PRIVATE_ROUNDS, description="Evaluate after every so many rounds, and after the last."
    )
    bins: int = Field(default=32, ge=2, le=256, description="Bins of the scores' histogram, for each class.")


class DifferentialPrivacy(ApiModel):
    """What is protected, and how much of it a job may spend in all that it releases."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.epsilon) != has(self.noiseMultiplier)",
            message="epsilon or noiseMultiplier: give exactly one, the other is computed",
            holds=lambda d: (d.epsilon is None) != (d.noise_multiplier is None),
            field="epsilon",
        ),
        Rule(
            cel="has(self.sampleRate) == (self.unit == 'Record')",
            message="sampleRate belongs to unit Record, which needs it: set it there, or remove it for unit Silo",
            holds=lambda d: (d.sample_rate is not None) == (d.unit == "Record"),
            field="sampleRate",
        ),
        Rule(
            cel="has(self.epsilon) || !(has(self.statistics) || has(self.evaluation))",
            message="epsilon must be given for statistics and evaluation, which take shares of it: set it instead of "
            "noiseMultiplier",
            holds=lambda d: d.epsilon is not None or (d.statistics is None and d.evaluation is None),
            field="epsilon",
        ),
        Rule(
            cel=(
                "!has(self.statistics) || !has(self.evaluation) || "
                "double(self.statistics.epsilonShare) + double(self.evaluation.epsilonShare) <= 0.9"
            ),
            message="statistics and evaluation must leave a tenth of epsilon to training: their shares are at most 0.9 "
            "together",
            holds=lambda d: (
                d.statistics is None
                or d.evaluation is None
                or float(d.statistics.epsilon_share) + float(d.evaluation.epsilon_share) <= 0.9
            ),
            field="statistics",
        ),
        between("epsilon", "epsilon", low="0.0", high=MAX_EPSILON, open_low=True),
        between("noiseMultiplier", "noise_multiplier", low="0.01", high="1000.0"),
        between("delta", "delta", low="0.0", high=MAX_DELTA, open_low=True),
        between("clip", "clip", low="0.000001", high="1000000.0"),
        between("sampleRate", "sample_rate", low="0.0", high="1.0", open_low=True),
    )

    unit: Unit = Field(
        description="Whose data is hidden: Record, one record more or less; Silo, one participant's whole data."
    )
    mechanism: Mechanism = Field(
        default="Local",
        description="Local: each gate adds the whole noise to its own update. Distributed: a share of it, so that the "
        "sum of a quorum has the whole noise; needs encryption.",
    )
    epsilon: PositiveDecimal | None = Field(
        default=None, description="Bound for all that the job releases; the noise is computed from it."
    )
    noise_multiplier: PositiveDecimal | None = Field(
        default=None, description="Noise over sensitivity, instead of epsilon, which is computed before the start."
    )
    delta: PositiveDecimal = Field(description="Failure probability: below 1/records, at most the budget's delta.")
    clip: PositiveDecimal = Field(
        description="L2 norm to which a record's gradient (unit Record) or the whole update (unit Silo) is clipped."
    )
    sample_rate: PositiveDecimal | None = Field(
        default=None, description="Unit Record only: chance of each record to be in a round's batch (Poisson)."
    )
    schedule: Schedule = Field(default_factory=Schedule, description="How the noise changes over the rounds.")
    max_attempts: int = Field(
        default=1, ge=1, le=MAX_ATTEMPTS, description="Releases paid for in each round; resent bytes are free."
    )
    statistics: PrivateStatistics | None = Field(
        default=None, description="Federated statistics; without it only the ranges that owners declare are used."
    )
    evaluation: PrivateEvaluation | None = Field(
        default=None, description="Evaluation metrics; without it none leave a gate."
    )


class PrivacySpec(ApiModel):
    """What protects the owners' data in this job."""

    RULES: ClassVar[tuple[Rule, ...]] = ENCRYPTION_RULES

    differential_privacy: DifferentialPrivacy | None = Field(
        default=None, description="Noise that hides a record or a silo; needs a PrivacyBudget at every owner."
    )
    encryption: Encryption | None = Field(
        default=None, description="Updates leave the gates encrypted; the server adds what it cannot read."
    )
    collusion_threshold: int = Field(
        default=0,
        ge=0,
        le=1022,
        description="With encryption: so many participants may lie, and still only whole sums are decrypted; 0 unless "
        "set. Participants who change their gates may read more: docs/encryption.md.",
    )
    model_release: ModelRelease = Field(
        default="Coordinator",
        description="With encryption: who gets the plain model at the end: Coordinator (in output), Participants (each "
        "in its own volume), or Never.",
    )

    @property
    def encrypts(self) -> Encryption | None:
        """The encryption that is on, if any."""
        wanted = self.encryption
        return wanted if wanted is not None and wanted.scheme != "None" else None


# --- what is planned -------------------------------------------------------------------------------------------------


class StatisticsPlan(ApiModel):
    """One release of integer histograms."""

    noise_multiplier: PositiveDecimal = Field(description="Noise over the L2 sensitivity of all counts together.")
    bins: int = Field(ge=2, le=256, description="Bins of each histogram.")


class EvaluationPlan(ApiModel):
    """Releases of integer histograms after some rounds."""

    noise_multiplier: PositiveDecimal = Field(description="Noise over the L2 sensitivity of all counts together.")
    bins: int = Field(ge=2, le=256, description="Bins of each histogram.")
    every_rounds: int = Field(ge=1, le=MAX_PRIVATE_ROUNDS, description="After every so many rounds, and the last.")


class PrivacyPlan(ApiModel):
    """What each release of one participant may be: enough to noise it, to charge it and to refuse all others."""

    unit: Unit = Field(description="Whose data is hidden.")
    mechanism: Mechanism = Field(default="Local", description="Who adds the noise.")
    quorum: int | None = Field(
        default=None, ge=2, le=MAX_SHARES, description="Distributed only: updates that every sum has at least."
    )
    collusion_threshold: int | None = Field(
        default=None, ge=0, description="Distributed only: participants who may pool what they know."
    )
    adjacency: Adjacency = Field(description="AddRemove (unit Record) or Replace (unit Silo).")
    adversary: Adversary = Field(default="ServerAndOne", description="Against whom the owner's budget is charged.")
    epsilon: PositiveDecimal = Field(
        description="Bound for all releases of the plan, at delta (RDP); Distributed: "
        "as sums, to which collusionThreshold participants add no noise.",
    )
    delta: PositiveDecimal = Field(description="Failure probability.")
    clip: PositiveDecimal = Field(description="L2 clip of a record's gradient (Record) or of the update (Silo).")
    sample_rate: PositiveDecimal | None = Field(default=None, description="Record only: Poisson sampling rate.")
    expected_batch: int | None = Field(
        default=None, ge=1, description="Record only: sampleRate times the declared records, rounded up; fixed."
    )
    max_attempts: int = Field(default=1, ge=1, le=MAX_ATTEMPTS, description="Releases paid for in each round.")
    noise_multipliers: list[PositiveDecimal] = Field(
        min_length=1,
        max_length=MAX_PRIVATE_ROUNDS,
        description="Noise over the L2 sensitivity on the integer grid, for each round; Distributed: of all shares "
        "that collusionThreshold participants do not know.",
    )
    statistics: StatisticsPlan | None = Field(default=None, description="The one release of statistics.")
    evaluation: EvaluationPlan | None = Field(default=None, description="Releases of evaluation metrics.")

    @property
    def rounds(self) -> int:
        """Rounds that are paid for."""
        return len(self.noise_multipliers)

    @property
    def shares(self) -> int | None:
        """Distributed: how many shares of the noise make up `noise_multipliers`: quorum - collusionThreshold."""
        if self.quorum is None or self.collusion_threshold is None:
            return None
        return self.quorum - self.collusion_threshold

    def for_owner(self, records: int | None, adversary: Adversary) -> "PrivacyPlan":
        """The plan for an owner of so many records: the noise is the same, the expected batch is its own."""
        batch = None
        if self.sample_rate is not None and records is not None:
            batch = math.ceil(Decimal(self.sample_rate) * records)
        return self.model_copy(update={"expected_batch": batch, "adversary": adversary})

    def evaluates(self, number: int) -> bool:
        """Whether round `number` (from 1) is evaluated."""
        every = self.evaluation.every_rounds if self.evaluation is not None else 0
        return bool(every) and 1 <= number <= self.rounds and (number % every == 0 or number == self.rounds)

    def allows(self, slot: Slot) -> bool:
        """Whether the plan pays for a release."""
        if not 1 <= slot.attempt <= self.max_attempts:
            return False
        if slot.kind is ReleaseKind.STATISTICS:
            return self.statistics is not None and slot.round == 0
        if slot.kind is ReleaseKind.EVALUATE:
            return self.evaluates(slot.round)
        return 1 <= slot.round <= self.rounds

    def slots(self) -> list[Slot]:
        """Every release that the plan pays for: its worst case."""
        attempts = range(1, self.max_attempts + 1)
        kinds = [(ReleaseKind.STATISTICS, 0)] if self.statistics is not None else []
        for number in range(1, self.rounds + 1):
            kinds.append((ReleaseKind.TRAIN, number))
            if self.evaluates(number):
                kinds.append((ReleaseKind.EVALUATE, number))
        return [Slot(kind, number, attempt) for kind, number in kinds for attempt in attempts]
