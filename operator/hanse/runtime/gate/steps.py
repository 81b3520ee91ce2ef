"""How far a private job's global model may move between two versions. Made by `build`, asked by `models`."""

from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig
from hanse.runtime.aggregation.received import learning_rate
from hanse.runtime.aggregation.stepbound import largest_step, largest_update
from hanse.runtime.codec import Layout
from hanse.runtime.gate.models import StepLimit


def step_limit(config: ClientConfig, plan: PrivacyPlan, layout: Layout) -> StepLimit:
    """The sum of the steps of the rounds between. Raises CodecError and AggregationError."""
    update = largest_update(
        layout,
        plan,
        config.compression,
        rate=learning_rate(config.config),
        smallest_batch=config.smallest_batch or plan.expected_batch or 1,
    )

    def limit(first: int, last: int) -> float:
        # A server that repeats rounds counts more steps than versions; the bound of a step grows with their number.
        steps = last - first
        return steps * largest_step(config.aggregation, update, layout.size, max(1, last - 1))

    return limit
