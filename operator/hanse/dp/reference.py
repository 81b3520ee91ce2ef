"""The door to dp-accounting: the second accountant. The only module that imports it, and scipy with it (90 MiB).

Two uses. `check` compares our closed forms with its RDP accountant before a plan is accepted: where they differ,
nothing starts. `pld_epsilon` is the tighter figure that a certificate shows beside the ledger's.

Why the PLD of the continuous Gaussian bounds our discrete one (used by `pld_epsilon`). Write N_Z(s^2) for the discrete
Gaussian on the integers. Take R = 2 and s1^2 = s^2 - R^2. Add N(0, s1^2) to an integer vector and round each value x to
the integer y with probability proportional to exp(-(y - x)^2 / 2R^2). Rounding needs no data and commutes with integer
shifts, so this is post-processing of a Gaussian mechanism with deviation s1. By Poisson summation the weights at x sum
to sqrt(2 pi) R (1 + t(x)), |t| <= h = 2 sum_m exp(-2 pi^2 R^2 m^2) < 1.1e-34, so its law is within 1/(1 +- h) of the
normal density with variance s^2 at each integer, and N_Z(s^2) within 1/(1 + h). Hence each released integer's
probability differs by a factor of at most (1 + h)/(1 - h), whatever the shift; over n integers by exp(+-k), k = 3 h n,
also under Poisson sampling (a mixture) and adaptive composition (a product). If the continuous mechanism with s1 is
(e, d)-DP, ours is (e + 2k, d exp(k))-DP. The rounding is that of Peikert 2010, "An Efficient and Parallel Gaussian
Sampler for Lattices", Theorem 3.1; the cost is s1 instead of s: 2e-6 of the noise at 1,000 grid steps, and each
release has its own s1.
"""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Final, get_args

from hanse.api.privacy import Adversary, PrivacyPlan, ReleaseKind, Slot
from hanse.dp.errors import AccountantsDisagree, TooCoarse, UnknownRelease
from hanse.dp.plan import release_rdp
from hanse.dp.rdp import ORDERS, SAMPLER_SHARE, Rdp
from hanse.dp.shares import tau, unknown_shares

if TYPE_CHECKING:
    from dp_accounting import DpEvent

#: Deviation of the randomised rounding in the bound above, in grid steps, and the relative error that it leaves.
ROUNDING: Final = 2.0
_H: Final = 1.1e-34
#: Noise of fewer grid steps than this has no PLD figure.
MIN_GRID_SIGMA: Final = 4.0
_AGREE: Final = 1e-9
_COMPARED: Final = 8


def check(plan: PrivacyPlan) -> None:
    """Compares each mechanism of a plan with dp-accounting, at up to 8 of a schedule's noises spread over its range.

    Plain Gaussian releases are one division and need no second opinion at run time. Raises AccountantsDisagree.
    """
    if plan.sample_rate is None:
        return
    rounds = {float(noise): number for number, noise in enumerate(plan.noise_multipliers, start=1)}
    noises = sorted(rounds)
    stride = max(1, math.ceil(len(noises) / _COMPARED))
    # One of each group that sees the same noise: with mechanism Local all do.
    adversaries = {unknown_shares(plan, each): each for each in get_args(Adversary)}.values()
    for noise, adversary in product({*noises[::stride], noises[-1]}, adversaries):
        slot = Slot(ReleaseKind.TRAIN, rounds[noise], 1)
        ours = release_rdp(plan, slot.kind, slot.round, adversary)
        theirs = event_rdp(release_event(plan, slot, adversary=adversary))
        if any(not abs(a - b) <= _AGREE * max(a, b) + 1e-14 for a, b in zip(ours, theirs, strict=True)):
            raise AccountantsDisagree(f"dp-accounting gives another loss at noise multiplier {noise:g}: nothing starts")


def release_event(plan: PrivacyPlan, slot: Slot, shrink: float = 1.0, adversary: Adversary | None = None) -> "DpEvent":
    """dp-accounting's event for one release, with the noise times `shrink`, against `adversary` (None: the plan's).

    A sum of shares stands as one Gaussian of their variance; `hanse.dp.shares` bounds the difference.
    Raises UnknownRelease.
    """
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    if not plan.allows(slot):
        raise UnknownRelease(f"the plan does not pay for {slot.key}")
    if slot.kind is ReleaseKind.TRAIN:
        # As a variance, not as `plan` has it: this is the second computation.
        whole = float(plan.noise_multipliers[slot.round - 1])
        variance = whole**2 / (plan.shares or 1) * unknown_shares(plan, adversary or plan.adversary)
        event = GaussianDpEvent(math.sqrt(variance) * shrink)
        return event if plan.sample_rate is None else PoissonSampledDpEvent(float(plan.sample_rate), event)
    part = plan.statistics if slot.kind is ReleaseKind.STATISTICS else plan.evaluation
    if part is None:
        raise UnknownRelease(f"{slot.kind.value} is no known release")
    return GaussianDpEvent(float(part.noise_multiplier) * shrink)


def event_rdp(event: "DpEvent") -> Rdp:
    """An event's loss by dp-accounting at our orders. An event that it does not know is refused: UnknownRelease."""
    from dp_accounting import UnsupportedEventError
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(list(ORDERS))
    try:
        accountant.compose(event)
    except UnsupportedEventError as error:
        raise UnknownRelease("dp-accounting does not know this event") from error
    return tuple(float(value) for value in accountant.rdp)


def pld_epsilon(
    plan: PrivacyPlan, releases: Iterable[tuple[Slot, float]], values: int, adversary: Adversary | None = None
) -> float:
    """Epsilon of the releases at the plan's delta by privacy loss distributions: an upper bound, mostly tighter.

    Each of `releases` has the deviation of one gate's noise in grid steps (histograms: counts), `values` is the number
    of integers in all of them, `adversary` as in `release_event`. Coarse noise counts as less than it is (by 6 % at 6
    grid steps), so where few coarse releases weigh most RDP may be the smaller figure. For people; nothing is charged
    by it. Some seconds of CPU for a long schedule. Raises TooCoarse below 4 grid steps, UnknownRelease.
    """
    from dp_accounting.pld import PLDAccountant

    # A sum of shares has more noise than one and is, up to `tau` in each integer, the discrete Gaussian of that much.
    factor = (3 * _H + tau(unknown_shares(plan, adversary or plan.adversary))) * values
    # Also for unit Silo: with REPLACE_ONE it doubles a sensitivity that our multipliers have already (known-issues.md).
    accountant = PLDAccountant()
    events = (release_event(plan, slot, _shrink(grid_sigma), adversary) for slot, grid_sigma in _once(releases))
    for event, count in Counter(events).items():
        accountant.compose(event, count)
    kept = float(plan.delta) * (1 - SAMPLER_SHARE) * math.exp(-factor)
    return float(accountant.get_epsilon(kept)) + 2 * factor


def _shrink(grid_sigma: float) -> float:
    if grid_sigma < MIN_GRID_SIGMA:
        raise TooCoarse(f"noise of {grid_sigma:g} grid steps has no PLD bound: it needs {MIN_GRID_SIGMA:g}")
    return math.sqrt(1 - (ROUNDING / grid_sigma) ** 2)


def _once(releases: Iterable[tuple[Slot, float]]) -> list[tuple[Slot, float]]:
    made = list(releases)
    if len({slot for slot, _ in made}) != len(made):
        raise UnknownRelease("one slot is listed twice")
    return made
