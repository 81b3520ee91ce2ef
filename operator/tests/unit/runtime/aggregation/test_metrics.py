"""Record-weighted means and early stopping."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.api.job import StopRule
from hanse.runtime.aggregation.metrics import stop_rule, weighted_mean


def test_mean_is_by_records_and_leaves_the_count_out() -> None:
    replies = [({"auc": 0.8, "num-examples": 300}, 300), ({"auc": 0.6, "num-examples": 100}, 100)]
    assert weighted_mean(replies) == {"auc": 0.75}


def test_a_metric_is_averaged_over_who_reports_it() -> None:
    replies = [({"auc": 0.8, "loss": 1.0}, 10), ({"loss": 3.0}, 30), ({"auc": 0.1, "loss": 9.0}, 0)]
    assert weighted_mean(replies) == {"auc": 0.8, "loss": 2.5}


def test_nobody_reports_anything() -> None:
    assert weighted_mean([]) == {}
    assert weighted_mean([({"auc": 0.5}, 0)]) == {}


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 10**6)), min_size=1, max_size=20), st.randoms())
def test_order_of_arrival_changes_no_bit(values: list[tuple[float, int]], rng: random.Random) -> None:
    replies = [({"loss": value}, count) for value, count in values]
    expected = weighted_mean(replies)
    rng.shuffle(replies)
    assert weighted_mean(replies) == expected


def test_the_first_rule_that_holds_stops() -> None:
    auc = StopRule(metric="auc", operator=">=", value="0.77")
    loss = StopRule(metric="loss", operator="<=", value="0.5")
    assert stop_rule([auc, loss], {"auc": 0.769, "loss": 0.51}) is None
    assert stop_rule([auc, loss], {"auc": 0.77, "loss": 0.4}) is auc
    assert stop_rule([auc, loss], {"auc": 0.1, "loss": 0.5}) is loss
    assert stop_rule([auc], {"accuracy": 1.0}) is None
