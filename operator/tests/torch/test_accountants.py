"""Opacus as a second opinion on hanse.dp: its RDP is code of its own, its PRV is another method altogether.

Needs opacus, which is in the trainer's image.
"""

import pytest

from hanse.dp import ORDERS, SAMPLER_SHARE, epsilon, times
from hanse.dp.rdp import gaussian, subsampled_gaussian

opacus = pytest.importorskip("opacus.accountants", reason="opacus is not in this image")

DELTA = 1e-5
#: Sample rate, noise multiplier, rounds: about epsilon 1, 3 and 8, and a full batch.
CASES = [(0.05, 4.2, 400), (0.05, 1.73, 400), (0.01, 0.7, 300), (0.2, 6.0, 100)]


@pytest.mark.parametrize(("rate", "noise", "rounds"), CASES)
def test_opacus_rdp_is_the_same(rate: float, noise: float, rounds: int) -> None:
    from opacus.accountants.analysis.rdp import compute_rdp

    theirs = compute_rdp(q=rate, noise_multiplier=noise, steps=rounds, orders=list(ORDERS))
    assert times(subsampled_gaussian(rate, noise), rounds) == pytest.approx(list(theirs), rel=1e-9)


@pytest.mark.parametrize(("rate", "noise", "rounds"), CASES)
def test_prv_is_below_rdp_and_near(rate: float, noise: float, rounds: int) -> None:
    """PRV (Gopi, Lee, Wutschitz 2021, arXiv:2106.02848) is nearly exact; RDP may not be below it."""
    accountant = opacus.PRVAccountant()
    accountant.history = [(noise, rate, rounds)]
    prv = accountant.get_epsilon(DELTA * (1 - SAMPLER_SHARE), eps_error=0.01, delta_error=DELTA / 1000)
    ours = epsilon(times(subsampled_gaussian(rate, noise), rounds), DELTA)
    assert prv - 0.02 < ours < prv * 1.3 + 0.02  # the gap is widest for little noise (1.25 at z = 0.7)


def test_a_full_batch_is_a_plain_gaussian() -> None:
    assert subsampled_gaussian(1.0, 2.0) == gaussian(2.0)
