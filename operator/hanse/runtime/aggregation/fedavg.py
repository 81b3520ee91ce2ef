"""FedAvg (McMahan et al. 2017) and FedProx (Li et al. 2020): the weighted mean; chosen by `build_strategy`.

FedProx differs on the client only: the train message carries `proximal-mu`, as Flower's own FedProx does.
"""

from collections.abc import Sequence

from hanse.runtime.aggregation.arrays import Arrays, Update, like, weighted_mean


class FedAvg:
    """The mean of the updates, by number of records or equal."""

    def __init__(self, *, equal: bool = False) -> None:
        self._equal = equal

    def train_config(self) -> dict[str, float]:
        """Nothing beside the round."""
        return {}

    def aggregate(self, current: Arrays, updates: Sequence[Update]) -> Arrays:
        """The mean in float64, cast to the model's dtypes."""
        return like(current, weighted_mean(current, updates, equal=self._equal))

    def state(self) -> Arrays:
        """Nothing is remembered."""
        return {}

    def load_state(self, state: Arrays) -> None:
        """Nothing is remembered."""


class FedProx(FedAvg):
    """FedAvg whose clients add `proximal-mu / 2 * |w - w_global|^2` to their loss."""

    def __init__(self, *, equal: bool = False, proximal_mu: float = 0.01) -> None:
        super().__init__(equal=equal)
        self._proximal_mu = proximal_mu

    def train_config(self) -> dict[str, float]:
        """The weight of the proximal term."""
        return {"proximal-mu": self._proximal_mu}
