"""Turns what a job asks into the plan that all enforce. Called at acceptance (operator) and by `hanse run` / `check`.

Whoever gives epsilon and delta gets the noise; whoever gives the noise gets epsilon, before anything starts.
"""

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from hanse.api.budget import decimal_up
from hanse.api.privacy import (
    MAX_EPSILON,
    Adversary,
    DifferentialPrivacy,
    EvaluationPlan,
    PrivacyPlan,
    ReleaseKind,
    StatisticsPlan,
    adjacency,
)
from hanse.dp.calibrate import decimal_noise, smallest_scale
from hanse.dp.errors import RecordsUnknown, Unreachable
from hanse.dp.plan import spent_rdp, sums_rdp
from hanse.dp.rdp import Rdp, compose, epsilon, gaussian, subsampled_gaussian, weighted
from hanse.dp.reference import check
from hanse.dp.schedule import factors
from hanse.dp.shares import sum_shares, sum_term


def resolve(
    spec: DifferentialPrivacy,
    rounds: int,
    records: int | None,
    adversary: Adversary = "ServerAndOne",
    *,
    quorum: int | None = None,
    collusion_threshold: int = 0,
) -> PrivacyPlan:
    """The plan of one participant with `records` records (needed for unit Record) over `rounds` rounds.

    Its epsilon is the one asked for, and epsilon(sums_rdp(plan), delta) is at most 1e-4 below it and never above it;
    or, if the noise was asked for, what that costs. The noise does not depend on `records`.
    Mechanism Distributed needs the job's `quorum` (and `collusion_threshold`): then epsilon is that of sums to which so
    many participants add no noise (`sums_rdp`), for a threshold of 0 that of outsiders; what is charged, against
    `adversary`, may be more.
    Raises AccountingError: BadSchedule, RecordsUnknown, Unreachable, AccountantsDisagree, UnknownRelease (a quorum
    below collusion_threshold + 2).
    """
    batch = _expected_batch(spec, records)
    among = (quorum, collusion_threshold) if spec.mechanism == "Distributed" else (None, None)
    plan = _resolved(spec.model_dump_json(), rounds, *among)
    own = {"adversary": adversary, "expected_batch": batch, "noise_multipliers": list(plan.noise_multipliers)}
    return plan.model_copy(update=own)


@lru_cache(maxsize=64)
def _resolved(spec_json: str, rounds: int, quorum: int | None, colluding: int | None) -> PrivacyPlan:
    """What is the same for all participants, and for every look at a job: a long schedule takes half a second."""
    spec = DifferentialPrivacy.model_validate_json(spec_json)
    relative = factors(spec.schedule, rounds)
    draft = _draft(spec, relative).model_copy(update={"quorum": quorum, "collusion_threshold": colluding})
    beyond = sum_term(sum_shares(draft))
    if spec.epsilon is None:
        scale = float(spec.noise_multiplier or 0)
        plan = _scaled(draft, relative, scale)
        costs = epsilon(sums_rdp(plan), float(plan.delta))
        if costs > float(MAX_EPSILON):
            raise Unreachable(f"noiseMultiplier {spec.noise_multiplier} gives epsilon {costs:.3g}: use more noise")
        plan = plan.model_copy(update={"epsilon": decimal_up(costs)})
    else:
        others = spent_rdp(draft, [slot for slot in draft.slots() if slot.kind is not ReleaseKind.TRAIN])
        noises = Counter(relative)

        def loss(scale: float) -> Rdp:
            one = ((compose(_training(draft, scale * factor), beyond), count) for factor, count in noises.items())
            return compose(others, weighted((rdp, count * draft.max_attempts) for rdp, count in one))

        plan = _scaled(draft, relative, smallest_scale(loss, float(spec.epsilon), float(spec.delta)))
    check(plan)
    return plan


def _draft(spec: DifferentialPrivacy, relative: Sequence[float]) -> PrivacyPlan:
    """The plan without a participant's own, and with training's noise that is only relative yet."""
    plan = PrivacyPlan(
        unit=spec.unit,
        mechanism=spec.mechanism,
        adjacency=adjacency(spec.unit),
        epsilon=spec.epsilon or "0",
        delta=spec.delta,
        clip=spec.clip,
        sample_rate=spec.sample_rate,
        max_attempts=spec.max_attempts,
        noise_multipliers=[decimal_noise(factor) for factor in relative],
    )
    if spec.statistics is not None:
        noise = _share_noise(spec, spec.statistics.epsilon_share, plan.max_attempts)
        statistics = StatisticsPlan(noise_multiplier=noise, bins=spec.statistics.bins)
        plan = plan.model_copy(update={"statistics": statistics})
    if spec.evaluation is not None:
        asked = spec.evaluation
        evaluation = EvaluationPlan(noise_multiplier="1", bins=asked.bins, every_rounds=asked.every_rounds)
        plan = plan.model_copy(update={"evaluation": evaluation})
        releases = sum(plan.evaluates(number) for number in range(1, plan.rounds + 1)) * plan.max_attempts
        noise = _share_noise(spec, asked.epsilon_share, releases)
        plan = plan.model_copy(update={"evaluation": evaluation.model_copy(update={"noise_multiplier": noise})})
    return plan


def _scaled(draft: PrivacyPlan, relative: Sequence[float], scale: float) -> PrivacyPlan:
    return draft.model_copy(update={"noise_multipliers": [decimal_noise(scale * factor) for factor in relative]})


def _training(plan: PrivacyPlan, noise: float) -> Rdp:
    """One round's training at a noise that is not in the plan yet."""
    return gaussian(noise) if plan.sample_rate is None else subsampled_gaussian(float(plan.sample_rate), noise)


def _expected_batch(spec: DifferentialPrivacy, records: int | None) -> int | None:
    if spec.sample_rate is None:
        return None
    if records is None or records < 1:
        raise RecordsUnknown("unit Record needs the number of records of each dataset, which its owner declares")
    return math.ceil(Decimal(spec.sample_rate) * records)


def _share_noise(spec: DifferentialPrivacy, share: str, releases: int) -> str:
    """Noise multiplier of each of `releases` Gaussian releases that together take `share` of the job.

    The share is one of the loss itself, not of epsilon, which does not add up: of the zCDP parameter rho that a single
    Gaussian release of the whole epsilon would have (rho = 1 / (2 z^2)), and rho does add up. For unit Silo, where all
    releases are Gaussian, training gets exactly the rest of it.
    """
    whole = smallest_scale(gaussian, float(spec.epsilon or 0), float(spec.delta))
    return decimal_noise(whole * math.sqrt(releases / float(share)))
