"""What the gate alone guarantees: the enforced epsilon of a Record plan."""

import pytest

from hanse.dp import enforced_epsilon, epsilon, plan_rdp
from hanse.runtime.codec import Demand, choose

from .plans import DELTA, plan


@pytest.mark.parametrize("multiplier", [0.01, 0.1, 1.0, 5.0])
def test_it_is_above_the_exact_epsilon_of_the_gates_gaussian_and_close(multiplier: float) -> None:
    """Balle and Wang 2018, arXiv:1805.06530: the analytic Gaussian mechanism."""
    from dp_accounting import get_epsilon_gaussian

    exact = get_epsilon_gaussian(multiplier, DELTA)
    assert exact < enforced_epsilon([multiplier], DELTA) < exact * 1.2


def test_releases_compose() -> None:
    """16 releases at 4 z are one at z."""
    assert enforced_epsilon([4.0] * 16, DELTA) == pytest.approx(enforced_epsilon([1.0], DELTA))
    assert enforced_epsilon([], DELTA) == 0


def test_a_huge_loss_is_nearly_rho() -> None:
    """No overflow, and no factor 2 from orders that stop at 2."""
    rho = 1e12 / 2
    assert rho < enforced_epsilon([1e-6], DELTA) < rho * 1.001


def test_for_the_gates_own_grid_it_is_far_above_the_records_epsilon() -> None:
    """What the codec enforces: at least the noise for one record over twice the whole batch's clip."""
    made = plan("Record", 100)
    noise = float(made.noise_multipliers[0])
    demand = Demand("Record", 1.0, noise, lanes=2000, bits=32, releases=100, expected_batch=made.expected_batch or 1)
    multiplier = choose(demand).enforced_multiplier
    assert multiplier >= noise / (2 * (made.expected_batch or 1))
    assert enforced_epsilon([multiplier] * 100, DELTA) > 1000 * epsilon(plan_rdp(made), DELTA)


@pytest.mark.parametrize("multiplier", [0.0, -1.0, float("nan")])
def test_what_makes_no_sense_is_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        enforced_epsilon([multiplier], DELTA)
