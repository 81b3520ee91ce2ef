"""Aggregation: strategies, federated statistics, metrics, checkpoints and model files, in numpy alone.

Called by the aggregator (`hanse.runtime.flower`), the CLI and the benchmarks; knows nothing of Flower.
"""

from hanse.runtime.aggregation.arrays import (
    AggregationError,
    Arrays,
    MismatchError,
    NonFiniteError,
    NoWeightError,
    Update,
    arrays_digest,
)
from hanse.runtime.aggregation.strategy import Strategy, build_strategy

__all__ = [
    "AggregationError",
    "Arrays",
    "MismatchError",
    "NoWeightError",
    "NonFiniteError",
    "Strategy",
    "Update",
    "arrays_digest",
    "build_strategy",
]
