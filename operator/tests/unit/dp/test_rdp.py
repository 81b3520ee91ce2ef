"""RDP vectors: against dp-accounting, against the exact discrete law, and as a ledger needs them to add up."""

import math
import random

import pytest
from dp_accounting.rdp import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.dp import ORDERS, SAMPLER_SHARE, ZERO, compose, epsilon, fits, parse, times
from hanse.dp.rdp import Rdp, convert, floor, gaussian, subsampled_gaussian
from hanse.dp.reference import event_rdp

NOISES = st.floats(0.3, 50)
RATES = st.floats(1e-5, 1)
LOSSES = st.lists(st.floats(0, 1e6), min_size=len(ORDERS), max_size=len(ORDERS)).map(tuple)
#: Without a zero, which alone makes epsilon 0.
POSITIVE = st.lists(st.floats(1e-3, 1e3), min_size=len(ORDERS), max_size=len(ORDERS)).map(tuple)


def discrete(sigma: float) -> dict[int, float]:
    """The discrete Gaussian's law, by definition."""
    reach = math.ceil(sigma * 12)
    weights = {k: math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)}
    total = math.fsum(weights.values())
    return {k: weight / total for k, weight in weights.items()}


def divergence(p: dict[int, float], q: dict[int, float], order: float) -> float:
    """Renyi divergence of two laws over the integers; what one of them lacks within reach counts as infinite."""
    terms = []
    for k, chance in p.items():
        if chance > 0:
            if q.get(k, 0.0) == 0.0:
                return math.inf
            terms.append(math.exp(order * math.log(chance) + (1 - order) * math.log(q[k])))
    return math.log(math.fsum(terms)) / (order - 1)


class TestAgainstDpAccounting:
    @given(RATES, NOISES)
    @settings(max_examples=30, deadline=None)
    def test_the_sampled_gaussian_is_the_same(self, rate: float, noise: float) -> None:
        from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

        theirs = event_rdp(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)))
        assert subsampled_gaussian(rate, noise) == pytest.approx(theirs, rel=1e-9, abs=1e-14)

    @given(NOISES)
    @settings(max_examples=20, deadline=None)
    def test_the_gaussian_is_the_same(self, noise: float) -> None:
        from dp_accounting import GaussianDpEvent

        assert gaussian(noise) == pytest.approx(event_rdp(GaussianDpEvent(noise)), rel=1e-12)

    @given(st.one_of(NOISES.map(gaussian), POSITIVE, LOSSES), st.floats(1e-12, 0.5))
    @settings(max_examples=100, deadline=None)
    def test_the_conversion_is_the_same_at_the_delta_that_the_sampler_leaves(self, loss: Rdp, delta: float) -> None:
        theirs, _ = compute_epsilon(ORDERS, loss, delta * (1 - SAMPLER_SHARE))
        assert epsilon(loss, delta) == pytest.approx(float(theirs), rel=1e-12, abs=1e-12)


class TestDiscreteGaussian:
    """The bounds hold for the noise that is really drawn, at every order of the ledger."""

    @pytest.mark.parametrize("sigma", [0.4, 1.0, 3.7])
    @pytest.mark.parametrize("shift", [1, 2, 5])
    def test_the_exact_divergence_is_below_the_gaussians(self, sigma: float, shift: int) -> None:
        law = discrete(sigma)
        moved = {k + shift: chance for k, chance in law.items()}
        for order, bound in zip(ORDERS[:8], gaussian(sigma / shift), strict=False):
            common = {k: chance for k, chance in moved.items() if k in law}
            assert divergence(common, law, order) <= bound * (1 + 1e-9)

    @pytest.mark.parametrize("rate", [0.01, 0.3])
    @pytest.mark.parametrize("sigma", [1.0, 3.7])
    def test_the_exact_divergence_of_a_poisson_sample_is_below_too_in_both_directions(
        self, rate: float, sigma: float
    ) -> None:
        law = discrete(sigma)
        mixed = {k: (1 - rate) * chance + rate * law.get(k - 2, 0.0) for k, chance in law.items()}
        bounds = subsampled_gaussian(rate, sigma / 2)
        for order, bound in zip(ORDERS[:6], bounds, strict=False):
            assert divergence(mixed, law, order) <= bound * (1 + 1e-9)
            assert divergence(law, mixed, order) <= bound * (1 + 1e-9)

    def test_a_vectors_divergence_depends_on_its_norm_alone(self) -> None:
        """Shift (3, 4) has norm 5: the coordinates' exact divergences add up to the bound for 5."""
        law = discrete(4.0)
        parts = [divergence({k + shift: p for k, p in law.items() if k + shift in law}, law, 2.0) for shift in (3, 4)]
        assert sum(parts) == pytest.approx(gaussian(4.0 / 5)[0], rel=1e-6)


class TestLedgerArithmetic:
    @given(st.lists(LOSSES, max_size=6), st.randoms(use_true_random=False))
    @settings(max_examples=50, deadline=None)
    def test_the_order_of_losses_does_not_change_a_digit(self, losses: list[Rdp], shuffled: random.Random) -> None:
        other = list(losses)
        shuffled.shuffle(other)
        assert compose(*losses) == compose(*other)

    @given(LOSSES, LOSSES)
    @settings(max_examples=50, deadline=None)
    def test_more_never_costs_less(self, loss: Rdp, more: Rdp) -> None:
        both = compose(loss, more)
        assert all(a >= b for a, b in zip(both, loss, strict=True))
        assert epsilon(both, 1e-5) >= epsilon(loss, 1e-5) >= 0

    @given(NOISES, NOISES, RATES)
    @settings(max_examples=50, deadline=None)
    def test_more_noise_never_costs_more(self, one: float, other: float, rate: float) -> None:
        low, high = sorted((one, other))
        for a, b in zip(subsampled_gaussian(rate, low), subsampled_gaussian(rate, high), strict=True):
            assert a * (1 + 1e-12) >= b >= 0

    @given(RATES, RATES, NOISES)
    @settings(max_examples=50, deadline=None)
    def test_a_larger_sample_never_costs_less(self, one: float, other: float, noise: float) -> None:
        low, high = sorted((one, other))
        for a, b in zip(subsampled_gaussian(low, noise), subsampled_gaussian(high, noise), strict=True):
            assert a <= b * (1 + 1e-9)

    def test_nothing_costs_nothing(self) -> None:
        assert compose() == ZERO == times(gaussian(1.0), 0)
        assert epsilon(ZERO, 1e-5) == 0

    def test_times_is_composition(self) -> None:
        loss = subsampled_gaussian(0.05, 1.1)
        assert times(loss, 5) == pytest.approx(compose(*[loss] * 5), rel=1e-15)

    def test_a_tiny_loss_is_not_lost(self) -> None:
        """1 + loss would be 1: a thousand rounds of it would be free."""
        assert all(value > 0 for value in subsampled_gaussian(1e-5, 300.0))

    def test_fits_is_the_same_conversion(self) -> None:
        loss = gaussian(2.0)
        assert fits(loss, epsilon(loss, 1e-5), 1e-5)
        assert not fits(loss, epsilon(loss, 1e-5) - 1e-9, 1e-5)

    @pytest.mark.parametrize("values", [[], ["1"] * 64, ["nan"] * 65, ["inf"] * 65, ["-1"] * 65])
    def test_a_ledger_that_makes_no_sense_is_refused(self, values: list[str]) -> None:
        with pytest.raises(ValueError):
            parse(values)

    @pytest.mark.parametrize(("rate", "noise"), [(0, 1), (1.1, 1), (-0.1, 1), (0.1, 0), (0.1, -1), (0.1, math.nan)])
    def test_mechanisms_that_make_no_sense_are_refused(self, rate: float, noise: float) -> None:
        with pytest.raises(ValueError):
            subsampled_gaussian(rate, noise)

    @pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
    def test_a_delta_that_makes_no_sense_is_refused(self, delta: float) -> None:
        with pytest.raises(ValueError):
            epsilon(ZERO, delta)


class TestConversion:
    @pytest.mark.parametrize("noise", [0.5, 1.0, 4.0, 20.0])
    def test_it_is_above_the_exact_epsilon_of_a_gaussian_and_not_far(self, noise: float) -> None:
        """Balle and Wang 2018, arXiv:1805.06530: the analytic Gaussian mechanism."""
        from dp_accounting import get_epsilon_gaussian

        exact = get_epsilon_gaussian(noise, 1e-5)
        assert exact < epsilon(gaussian(noise), 1e-5) < exact * 1.25

    def test_the_floor_is_the_smallest_epsilon_above_zero(self) -> None:
        assert epsilon(gaussian(9e4), 1e-5) == pytest.approx(floor(1e-5), abs=1e-4)
        assert 0.01 < floor(1e-5) < 0.03

    def test_a_finer_curve_is_tighter(self) -> None:
        coarse = epsilon(gaussian(0.05), 1e-5)
        fine = convert(((order, order / (2 * 0.05**2)) for order in (1.1, 1.2, 1.4, 2.0)), 1e-5)
        assert fine < coarse
