"""What the gate's noise costs: seconds for a million parameters. `scripts/bench noise`, and called by `privacy`.

CPU time of this process (the sampler has one thread), the median of several draws; beside it the whole release (clip,
rounding, noise, lanes), and the first draw of a new sigma, which makes its table.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec import Codec, Layout, PublicSeed
from hanse.runtime.noise import FINE_SIGMA, ReleaseNoise

MILLION = 1_000_000


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def noise_seconds_per_million(sigma: float = FINE_SIGMA, repeats: int = 7) -> float:
    """Median of warm draws of a million values; FINE_SIGMA is what full lanes use and the slowest."""
    ReleaseNoise().draw(sigma, 1)
    return statistics.median(seconds(lambda: ReleaseNoise().draw(sigma, MILLION)) for _ in range(repeats))


def release_seconds_per_million(repeats: int = 7) -> float:
    """Median of whole releases of a million parameters (unit Silo, full lanes)."""
    plan = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["2"])
    update = np.random.default_rng(0).normal(size=MILLION)
    codec = Codec.of(Layout.of({"w": update}), PublicSeed("sha256:bench", 1, 1), plan)
    codec.encode(update, ReleaseNoise())
    return statistics.median(seconds(lambda: codec.encode(update, ReleaseNoise())) for _ in range(repeats))


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="draws of which the median is taken")
    repeats = parser.parse_args().repeats
    first = seconds(lambda: ReleaseNoise().draw(2047.5, MILLION))
    warm = {sigma: noise_seconds_per_million(sigma, repeats) for sigma in (1.0, 100.0, 2048.0, FINE_SIGMA)}
    for sigma, taken in warm.items():
        sys.stdout.write(f"sigma {sigma:>9g}: {taken:.4f} s for a million\n")
    metrics = {
        "noise_seconds_per_million": warm[FINE_SIGMA],
        "noise_first_seconds_per_million": first,
        "release_seconds_per_million": release_seconds_per_million(repeats),
    }
    rounded = {name: round(value, 4) for name, value in metrics.items()}
    sys.stdout.write(json.dumps({"name": "noise", "metrics": rounded}) + "\n")


if __name__ == "__main__":
    main()
