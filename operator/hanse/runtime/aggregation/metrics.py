"""Metrics of a round: record-weighted means and the rules that stop early. Called by the aggregator."""

from collections.abc import Mapping, Sequence

from hanse.api.job import StopRule
from hanse.runtime.aggregation.arrays import record_weighted

#: The weight itself is not a metric.
NUM_EXAMPLES = "num-examples"


def weighted_mean(replies: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Mean of each metric by number of records, over the participants that report it; sorted by name.

    A participant without a record says nothing. The order of the replies does not matter.
    """
    told = [(metrics, count) for metrics, count in replies if count > 0]
    names = sorted({name for metrics, _ in told for name in metrics} - {NUM_EXAMPLES})
    return {
        name: record_weighted([(float(metrics[name]), count) for metrics, count in told if name in metrics])
        for name in names
    }


def stop_rule(rules: Sequence[StopRule], metrics: Mapping[str, float]) -> StopRule | None:
    """The first rule that holds, or None; a metric that nobody reports stops nothing."""
    return next((rule for rule in rules if _holds(rule, metrics.get(rule.metric))), None)


def _holds(rule: StopRule, value: float | None) -> bool:
    if value is None:
        return False
    bound = float(rule.value)
    return value >= bound if rule.operator == ">=" else value <= bound
