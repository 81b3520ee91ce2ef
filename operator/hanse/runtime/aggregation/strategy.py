"""The interface of a strategy and the one place that chooses it; the aggregator calls it once a round."""

from collections.abc import Sequence
from typing import Protocol

from hanse.api.job import Aggregation
from hanse.runtime.aggregation.arrays import Arrays, Update


class Strategy(Protocol):
    """How updates become the next global model. One instance lives for a run; its state goes into the checkpoint."""

    def train_config(self) -> dict[str, float]:
        """What the train message's config carries beside `server-round`."""
        ...

    def aggregate(self, current: Arrays, updates: Sequence[Update]) -> Arrays:
        """The next model, in the dtypes of `current`; `updates` come in the order of the participants' indices.

        Raises AggregationError; the state is then as before.
        """
        ...

    def state(self) -> Arrays:
        """What the strategy remembers between rounds (moments, step count); empty when it remembers nothing."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Go on from what `state()` returned."""
        ...


def build_strategy(spec: Aggregation) -> Strategy:
    """The strategy that `spec` names, with the defaults that its fields describe."""
    # Here and not at the top: the strategies import this module's interface for their own checks.
    from hanse.runtime.aggregation.fedavg import FedAvg, FedProx
    from hanse.runtime.aggregation.fedopt import FedAdam, FedYogi, Hyperparameters

    equal = spec.weights == "Equal"
    if spec.strategy == "FedAvg":
        return FedAvg(equal=equal)
    if spec.strategy == "FedProx":
        return FedProx(equal=equal, proximal_mu=_number(spec.proximal_mu, 0.01))
    parameters = Hyperparameters(
        learning_rate=_number(spec.server_learning_rate, 0.1),
        beta1=_number(spec.beta1, 0.9),
        beta2=_number(spec.beta2, 0.99),
        tau=_number(spec.tau, 1e-3),
    )
    chosen = FedAdam if spec.strategy == "FedAdam" else FedYogi
    return chosen(parameters, equal=equal)


def _number(text: str | None, default: float) -> float:
    return default if text is None else float(text)
