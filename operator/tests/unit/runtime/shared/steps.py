"""Rounds of a shared model from integers alone, so that only the arithmetic under test makes bits. Run as a script, it
prints the digests after each strategy's rounds: `test_same_bits` compares processors' variants."""

import json

import numpy as np

from hanse.api.aggregation import Aggregation
from hanse.runtime.aggregation import Arrays
from hanse.runtime.codec import Layout
from hanse.runtime.shared import SharedModel

SPECS = {
    "FedAvg": Aggregation(strategy="FedAvg"),
    "FedProx": Aggregation(strategy="FedProx", proximal_mu="0.1"),
    "FedAdam": Aggregation(strategy="FedAdam", server_learning_rate="0.05", beta1="0.83", beta2="0.957", tau="1e-2"),
    "FedYogi": Aggregation(strategy="FedYogi", server_learning_rate="0.05", beta1="0.83", beta2="0.957", tau="1e-2"),
}
MEMBERS = ("a", "b", "c")
SIZE = 1003
ROUNDS = 40


def whole_numbers(seed: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """`size` integers within +-2^17, from a linear congruence of whole numbers."""
    found, state = [], seed * 2 + 1
    for _ in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        found.append((state >> 46) - 2**17)
    return np.asarray(found, np.float64)


def first_model() -> Arrays:
    """Not in the order of names, with arrays of three dtypes, one of them a counter, and a scalar."""
    numbers = whole_numbers(1, SIZE) / 2**17
    return {
        "weight": numbers[:900].reshape(30, 30).astype(np.float32),
        "batches": np.asarray(3, np.int64),
        "bias": numbers[900:1000].astype(np.float64),
        "scalar": np.asarray(numbers[1000], np.float32),
        "half": numbers[1001:].astype(np.float16),
    }


def shared_model(name: str, range: float | None = 1.0) -> SharedModel:
    arrays = first_model()
    return SharedModel.first(arrays, Layout.of(arrays), SPECS[name], members=MEMBERS, rounds=1000, range=range)


def after(model: SharedModel, first: int, last: int) -> SharedModel:
    """The model after rounds `first` to `last`, each with a decrypted mean of a grid of 3^-9."""
    for number in range(first, last + 1):
        mean = whole_numbers(number, SIZE) / 3.0**9 / 7.0
        model.commit(model.apply(number, mean, ["a", "b"] if number % 2 else ["b", "c"]))
    return model


def main() -> None:
    print(json.dumps({name: after(shared_model(name), 1, ROUNDS).digests for name in SPECS}))


if __name__ == "__main__":
    main()
