"""Distributed noise: how many shares of it an adversary does not know, and what a sum of shares costs beyond one law.

Called by `plan` (costs), `certified` and `reference`. Each gate of a round adds the same integer noise, a discrete
Gaussian of deviation s grid steps, s >= MIN_SHARE_STEPS; a sum of m of them is not a discrete Gaussian of deviation
sqrt(m) s, only close to one. `sum_term` is that distance as Rényi divergence, explicit although it is tiny.

**Lemma** (after Kairouz, Liu, Steinke 2021, arXiv:2102.06387, whose lemma is f = 1: no rounding). Shares live on a fine
grid, f >= 1 fine steps to one grid step (f = 1: no rounding): y_i = u_i + N_Z(0, (f s)^2) with integers u_i that
hold the data. Round y_i to the grid: q_i and the remainder r_i, y_i = f q_i + r_i. Let w_j = y_1 + .. + y_j. Then the
law of (r_2, .., r_m, w_m) is pointwise within exp(+-tau) of this: w_m from N_Z(u_1 + .. + u_m, m (f s)^2), each r_i
uniform and independent of it, with tau = 10 sum over k = 1 .. m-1 of exp(-2 pi^2 s^2 k / (k + 1)).
*Proof.* By induction over j. The probability of (r_2, .., r_j+1, w) is the sum over all y in r_j+1 + f Z of that of
(r_2, .., r_j, w - y) times P(y_j+1 = y). Completing the square, the product of the two Gaussian factors is
exp(-(w - U)^2 / (2 (j+1) f^2 s^2)) exp(-(y - c)^2 / (2 v^2)) with v^2 = f^2 s^2 j / (j + 1) and a real c. The sum of
the second factor over a translate of f Z is sqrt(2 pi) v / f (1 + e), |e| <= d = 2.01 exp(-2 pi^2 v^2 / f^2) < 1/100,
whatever c and r are (Poisson summation). The three normalising constants are such sums over Z, of larger deviations,
so with smaller errors. Each step costs at most four factors of 1 +- d, so exp(+-4.1 d), and 4.1 * 2.01 < 10.  []

The released sum q_1 + .. + q_m is a function of what the lemma describes: r_1 follows from w_m and the others, and
f (q_1 + .. + q_m) = w_m - r_1 - .. - r_m. **So up to exp(+-tau) in each entry the release is post-processing of the
fine sum with one discrete Gaussian**, whose sensitivity is counted on the fine grid; rounding to the grid costs
nothing. More shares than m, other participants' data and what colluders add are post-processing too.

**Under sampling and in many entries.** Both laws of a pair of neighbours, mixtures over batches included, are pointwise
within exp(+-t) of those of the exact mechanism, t = entries * tau. For such laws P', Q' near P, Q and an order a > 1
E_P'[(Q'/P')^a] = sum P'^(1-a) Q'^a <= exp((2a - 1) t) sum P^(1-a) Q^a, so the RDP grows by at most (2a - 1) / (a - 1) t
with Poisson sampling as without. This is `sum_term`, at the most entries that a codec takes.
"""

import math
from functools import cache
from typing import Final, Literal

from hanse.api.encryption import keeps_halves_apart
from hanse.api.privacy import MAX_SHARES, Adversary, PrivacyPlan
from hanse.dp.errors import UnknownRelease
from hanse.dp.rdp import ORDERS, ZERO, Rdp

#: The smallest deviation of one share, in grid steps; the codec refuses less (hanse.runtime.codec.summed).
MIN_SHARE_STEPS: Final = 8.0
#: The most entries of one release (hanse.runtime.codec.public.MAX_PARAMETERS).
MAX_ENTRIES: Final = 2**30

#: Who holds the key that decrypts sums: every participant the same, or only a threshold of them together.
KeyHolders = Literal["Shared", "Threshold"]


def unknown_shares(plan: PrivacyPlan, adversary: Adversary, holders: KeyHolders = "Shared") -> int:
    """How many shares of the noise on one participant's update `adversary` cannot take away; 1 for mechanism Local.

    Outsiders see sums of at least a quorum, so `quorum` shares; that is also what nobody at all (a collusionThreshold
    of 0) adds to. **Who holds the job's key decrypts each update that it gets hold of, and then that one share alone
    hides it.** The server gets all of them. A participant whose gate was changed gets half of each ciphertext in the
    rounds in which it verifies, which says nothing: what it reads are sums, from which it subtracts its own share. Two
    who verify in one round may have both halves; and so may one alone where the quorum is too small to keep halves
    apart (`keeps_halves_apart`). Only a key that participants hold by threshold would leave the server and several
    participants with sums; no engine declares one yet.
    Raises UnknownRelease for a plan whose noise nobody can count on.
    """
    if plan.mechanism == "Local":
        return 1
    whole = sum_shares(plan)
    quorum, colluding = plan.quorum or 0, plan.collusion_threshold or 0
    if adversary == "Outsiders" or (adversary == "CollusionThreshold" and colluding == 0):
        return quorum
    if holders == "Shared":
        alone = adversary == "OneParticipant" or (adversary == "CollusionThreshold" and colluding == 1)
        return quorum - 1 if alone and keeps_halves_apart(quorum, colluding) else 1
    return {"OneParticipant": quorum - 1, "CollusionThreshold": whole, "ServerAndOne": min(whole, quorum - 1)}[
        adversary
    ]


def sum_shares(plan: PrivacyPlan) -> int:
    """How many shares the plan's multipliers and epsilon count: of a sum to which collusionThreshold add no noise.

    That is the calibration: for a threshold of 0 the epsilon against outsiders. 1 for mechanism Local. Raises
    UnknownRelease as `unknown_shares` does.
    """
    if plan.mechanism == "Local":
        return 1
    quorum, colluding = plan.quorum, plan.collusion_threshold
    if quorum is None or colluding is None or not 0 <= colluding <= quorum - 2 or quorum > MAX_SHARES:
        raise UnknownRelease("distributed noise needs a quorum of at least two more than collusionThreshold")
    return quorum - colluding


@cache
def tau(shares: int, steps: float = MIN_SHARE_STEPS) -> float:
    """Bound of |log| of the ratio of one entry's two laws: a sum of `shares` shares of deviation `steps`, and one."""
    return 10 * math.fsum(math.exp(-2 * (math.pi * steps) ** 2 * k / (k + 1)) for k in range(1, shares))


@cache
def sum_term(shares: int) -> Rdp:
    """What a release whose noise is a sum of `shares` shares costs beyond one discrete Gaussian of their variance."""
    if shares == 1:
        return ZERO
    return tuple((2 * order - 1) / (order - 1) * MAX_ENTRIES * tau(shares) for order in ORDERS)
