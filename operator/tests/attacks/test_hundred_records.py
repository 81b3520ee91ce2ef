"""A hostile ClientApp writes 100 records into its update, bit by bit, and the server reads them out again.

The app is the attacker here, so nothing that the app should do protects anybody: what counts is the gate alone. Each
record is 16 bits, each bit the sign of one parameter, as strong as the gate lets it through.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan
from tests.attacks.digits import Arrays
from tests.attacks.world import Owner, in_the_clear, plan, without_noise

RECORDS = 100
BITS = 16
#: Of the whole dataset, which is larger: an owner's batch is what the sum of a Record job may be as long as.
DATASET = 1000
MODEL: Arrays = {"layer.weight": np.zeros((RECORDS, BITS), np.float32)}

Bits = NDArray[np.bool_]


def records() -> Bits:
    """100 records of 16 random bits."""
    return np.random.default_rng(7).integers(0, 2, (RECORDS, BITS)).astype(bool)


def written(dtype: type[np.floating]) -> Arrays:
    """What the app returns: far above every clip."""
    return {"layer.weight": np.where(records(), 1e6, -1e6).astype(dtype)}


def read(update: Arrays) -> Bits:
    """What the server makes of it."""
    found: Bits = update["layer.weight"] > 0
    return found


def whole(found: Bits) -> int:
    """Records of which every bit is right."""
    return int(np.sum(np.all(found == records(), axis=1)))


def wrong(found: Bits) -> float:
    """Share of wrong bits; half of them are wrong by guessing."""
    return float(np.mean(found != records()))


def through(root: Path, chosen: PrivacyPlan) -> Bits:
    """The gate of a job with this plan. The server reads all rounds together, of which each says the same."""
    dtype = np.float64 if chosen.unit == "Record" else np.float32
    owner = Owner(root, MODEL, chosen, records=DATASET)
    seen = [owner.update(written(dtype), number)["layer.weight"] for number in range(1, chosen.rounds + 1)]
    return read({"layer.weight": np.mean(seen, axis=0)})


def test_control_with_privacy_off_all_are_recovered(tmp_path: Path) -> None:
    assert whole(read(in_the_clear(tmp_path, MODEL, written(np.float32)))) == RECORDS


def test_control_the_clip_alone_hides_nothing(tmp_path: Path) -> None:
    assert whole(through(tmp_path, without_noise("Silo", records=DATASET))) == RECORDS


@pytest.mark.parametrize("epsilon", ["1", "8"])
def test_unit_record_does_not_stop_a_hostile_image(tmp_path: Path, epsilon: str) -> None:
    """Noise for one record hides one record; the threat model says so, and Enforced in the certificate."""
    assert whole(through(tmp_path, plan("Record", epsilon, records=DATASET))) > 0.9 * RECORDS


@pytest.mark.parametrize("rounds", [1, 5])
def test_unit_silo_stops_it_at_epsilon_8(tmp_path: Path, rounds: int) -> None:
    found = through(tmp_path, plan("Silo", "8", rounds=rounds, records=DATASET))
    assert whole(found) == 0
    # 1600 bits, each right with a chance of at most .51: fewer wrong than this once in 10^9 runs.
    assert wrong(found) > 0.41
