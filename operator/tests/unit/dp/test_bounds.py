"""What the gate alone guarantees: the enforced epsilon of a Record plan."""

import math

import pytest

from hanse.dp import UnknownRelease, enforced_epsilon, epsilon, plan_rdp

from .plans import plan


def test_it_is_at_least_the_exact_epsilon_of_the_gates_gaussian_and_close() -> None:
    """One round, z = 2, a gate clip of one record's: replacing moves by 2C, so the multiplier is 1."""
    from dp_accounting import get_epsilon_gaussian

    made = plan("Record", 1, noise_multiplier="2", records=20)
    assert made.expected_batch == 1
    exact = get_epsilon_gaussian(1.0, 1e-5)
    assert exact < enforced_epsilon(made, 1.0) < exact * 1.2


def test_rounds_and_attempts_compose() -> None:
    """16 rounds at z = 8 are one at z = 2; so are 4 rounds of 4 attempts."""
    one = enforced_epsilon(plan("Record", 1, noise_multiplier="2"), 1.0)
    assert enforced_epsilon(plan("Record", 16, noise_multiplier="8"), 1.0) == pytest.approx(one)
    assert enforced_epsilon(plan("Record", 4, noise_multiplier="8", max_attempts=4), 1.0) == pytest.approx(one)


def test_it_grows_with_the_gates_clip_and_is_scale_free() -> None:
    made = plan("Record", 10)
    assert enforced_epsilon(made, 1.0) < enforced_epsilon(made, 400.0)
    wide = made.model_copy(update={"clip": "10"})
    assert enforced_epsilon(wide, 4000.0) == pytest.approx(enforced_epsilon(made, 400.0))


def test_a_huge_loss_is_nearly_rho() -> None:
    """No overflow, and no factor 2 from orders that stop at 2."""
    made = plan("Record", 1, noise_multiplier="1")
    rho = (2 * 1e6) ** 2 / 2
    assert rho < enforced_epsilon(made, 1e6) < rho * 1.001


def test_it_is_far_above_the_records_epsilon() -> None:
    made = plan("Record", 100)
    assert enforced_epsilon(made, float(made.expected_batch or 0)) > 1000 * epsilon(plan_rdp(made), 1e-5)


def test_histograms_need_the_records_and_count() -> None:
    made = plan("Record", 3, statistics={"epsilon_share": "0.1"})
    with pytest.raises(ValueError, match="records"):
        enforced_epsilon(made, 10.0)
    bare = enforced_epsilon(made.model_copy(update={"statistics": None}), 10.0)
    assert made.statistics is not None
    alone = (math.sqrt(2) * 8000 / float(made.statistics.noise_multiplier)) ** 2 / 2
    assert enforced_epsilon(made, 10.0, records=8000) > max(bare, alone)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownRelease):
        enforced_epsilon(plan("Silo"), 1.0)
    with pytest.raises(ValueError, match="clip"):
        enforced_epsilon(plan("Record"), 0.5)
