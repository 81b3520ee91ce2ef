"""The evaluation share: a function of the id alone, of about the asked size, independent of other purposes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.apps.split import evaluation_mask, unit_hash

IDS = [str(number) for number in range(20_000)]


def test_the_share_is_about_the_fraction() -> None:
    assert evaluation_mask(IDS, 0.1).mean() == pytest.approx(0.1, abs=0.01)
    assert not evaluation_mask(IDS, 0.0).any()


@settings(deadline=None)
@given(st.lists(st.text(max_size=10), unique=True, max_size=30), st.randoms())
def test_a_record_stays_where_it_is_whatever_the_others(ids: list[str], rng: object) -> None:
    alone = {record: bool(evaluation_mask([record], 0.5)[0]) for record in ids}
    rng.shuffle(ids)  # type: ignore[attr-defined]
    assert dict(zip(ids, evaluation_mask(ids, 0.5).tolist(), strict=True)) == alone


def test_a_larger_fraction_keeps_what_a_smaller_one_held() -> None:
    assert not (evaluation_mask(IDS, 0.1) & ~evaluation_mask(IDS, 0.2)).any()


def test_two_purposes_are_independent() -> None:
    one = np.array([unit_hash(record, "evaluation") for record in IDS])
    two = np.array([unit_hash(record, "held-out") for record in IDS])
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
