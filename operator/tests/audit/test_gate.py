"""The gate's own use of the codec and of the noise: counts are audited, updates are compared with the codec's law."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hanse import dp
from hanse.api.privacy import DifferentialPrivacy, PrivateStatistics, ReleaseKind, Slot, Unit
from hanse.runtime.codec import Codec, Layout, PublicSeed
from hanse.runtime.codec.lanes import unpack
from hanse.runtime.gate.histograms import FEATURES, Histograms, statistics_histograms
from hanse.runtime.gate.updates import Updates
from tests.audit.cases import resolved
from tests.audit.harness import RUNS, Runs, Vector, lower_bound
from tests.unit.runtime.noise.streams import fixed

DELTA = 1e-5
RECORDS = 30


def counts(form: Histograms, cells: np.ndarray, multiplier: float, name: str) -> Vector:
    """What leaves of these counts, in `RUNS` runs; of shape (runs, cells)."""
    released = form.release({FEATURES: cells}, multiplier, Runs(RUNS, fixed(name)))
    return np.frombuffer(released, "<i8").reshape(RUNS, -1).astype(np.float64)


def neighbours(unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """Three features in four bins: without and with a record; or all of a silo in one bin and in another."""
    left = np.zeros((3, 4), np.int64)
    left[:, 0] = RECORDS - 1
    if unit == "Record":
        right = left.copy()
        right[:, 1] += 1
        return left, right
    left[:, 0] = 10**12  # a lie is cut
    return left, left[:, ::-1].copy()


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_counts(unit: Unit) -> None:
    fields = {"sample_rate": "0.5"} if unit == "Record" else {}
    asked = DifferentialPrivacy(
        unit=unit,
        epsilon="4.0",
        delta="1e-5",
        clip="1.0",
        statistics=PrivateStatistics(epsilon_share="0.5", bins=4),
        **fields,
    )
    plan = dp.resolve(asked, 1, RECORDS)
    assert plan.statistics is not None
    claim = dp.epsilon(dp.release_rdp(plan, ReleaseKind.STATISTICS, 0), DELTA)
    form = statistics_histograms(3, 4, unit, RECORDS)
    multiplier = float(plan.statistics.noise_multiplier)
    left, right = neighbours(unit)
    seen = [counts(form, cells, multiplier, name) for cells, name in ((left, "left"), (right, "right"))]
    assert 0.3 * claim < lower_bound(seen[0], seen[1], DELTA) < claim
    # The mutant: noise for one feature's histogram, released for three.
    seen = [counts(form, cells, multiplier / 3, name) for cells, name in ((left, "left"), (right, "right"))]
    assert lower_bound(seen[0], seen[1], DELTA) > claim


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_the_gate_releases_what_the_codec_does(unit: Unit, tmp_path: Path) -> None:
    """The law of the gate's bytes, drawn with real keys: a statistic that fails once in 10^9 runs."""
    plan = resolved(unit)
    layout = Layout.of({"w": np.zeros(8)})
    updates = Updates(layout, "sha256:gate", plan, None, tmp_path)
    codec = Codec.of(layout, PublicSeed("sha256:gate", 1, 1), plan)
    assert codec.grid is not None
    vector = np.array([0.1, -0.2, 0.0, 5.0, 0.0, 0.0, 0.0, 0.3])
    runs = 400
    slot = Slot(ReleaseKind.TRAIN, 1)
    seen = [unpack(np.frombuffer(updates.encode(vector, slot), np.uint8)[4:], 8, 32) for _ in range(runs)]
    assert len({row.tobytes() for row in seen}) == runs
    silent = codec.decode(codec.encode(vector, Runs(1, Quiet())).message) / codec.grid.step + codec.seed.dither(8)
    standard = (np.array(seen) - np.rint(silent)) / codec.grid.sigma
    squares = float(np.sum(np.square(standard)))
    assert 5e-10 < stats.chi2.cdf(squares, 8 * runs) < 1 - 5e-10
    assert abs(float(np.sum(standard))) < 6.2 * (8 * runs) ** 0.5


class Quiet:
    """Noise of zeros, to see where the noise is centred."""

    def words(self, count: int) -> np.ndarray:
        """Zeros."""
        return np.zeros(count, np.uint64)
