"""The interval between polls."""

import pytest

from hanse.runtime.gate.pace import Pace


@pytest.mark.parametrize(
    ("quiet", "delay"), [(0.0, 0.02), (0.9, 0.02), (1.0, 0.05), (29.9, 0.05), (32.0, 0.15), (49.0, 1.0), (9999.0, 1.0)]
)
def test_the_interval_grows_with_the_quiet(quiet: float, delay: float) -> None:
    clock = [100.0]
    pace = Pace(lambda: clock[0])
    clock[0] += quiet
    assert pace.delay() == pytest.approx(delay)


def test_a_message_makes_it_quick_again() -> None:
    clock = [100.0]
    pace = Pace(lambda: clock[0])
    clock[0] += 500
    pace.touch()
    assert pace.delay() == 0.02
