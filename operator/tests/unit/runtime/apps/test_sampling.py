"""The coins of unit Record."""

import numpy as np
import pytest

from hanse.runtime.apps.sampling import poisson_sample


@pytest.mark.parametrize("rate", ["0.1", "0.5", "0.93"])
def test_each_record_is_drawn_at_the_rate(rate: str) -> None:
    count, expected = 200_000, float(rate)
    spread = 6 * (count * expected * (1 - expected)) ** 0.5  # two chances in a billion
    assert abs(int(poisson_sample(count, rate).sum()) - count * expected) < spread


def test_rate_one_is_everybody_and_no_record_is_no_coin() -> None:
    assert poisson_sample(1000, "1").all()
    assert poisson_sample(0, "0.5").shape == (0,)


def test_a_record_is_drawn_below_the_rate_and_not_at_it() -> None:
    at = 2**63

    def coins(_: int) -> bytes:
        return np.array([0, at - 1, at, 2**64 - 1], "<u8").tobytes()

    assert poisson_sample(4, "0.5", coins).tolist() == [True, True, False, False]


def test_two_draws_differ() -> None:
    assert (poisson_sample(1000, "0.5") != poisson_sample(1000, "0.5")).any()
