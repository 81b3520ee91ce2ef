"""The search for the MLP's settings in `privacy`: cross-validation on the banks' training records alone.

usage: OPENBLAS_NUM_THREADS=1 scripts/bench settings_search [--hidden 64] [--processes N]     (20 CPU minutes)

What it prints was written into `privacy.TUNED_MLP` by hand. Each of no noise, local and distributed noise has
the same grid and the same two steps: all settings with one seed on two of four folds, then the best ten with three
seeds on all four. The model, the strategy and the noise multipliers are the product's; noise is numpy's Gaussian, in
float32, without the gates' grid. A fold's model learns from three quarters of the records, so its noise is three
quarters of the job's: beside the sum it is as large as in the job. The held-out customers are never scored. Metrics are
the best settings' AUC in the second step. They flatter a little: a maximum was taken.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from e2e.benchmarks.credit import Tuning, load
from e2e.benchmarks.network import Floats, Network
from hanse.api.privacy import Mechanism
from hanse.dp import resolve
from hanse.runtime.aggregation import Update, build_strategy
from hanse.runtime.apps.scores import auc

FOLDS: Final = 4
BEST: Final = 10
EPSILON: Final = "1"
#: The grid. Steepness is the server's rate over tau: the step for a small mean gradient.
ROUNDS: Final = (60, 100, 200)
CLIPS: Final = ("0.5", "1", "2", "4")
TAUS: Final = ("0.002", "0.02", "0.2")
STEEPNESS: Final = (1, 3, 10)
PIECES: Final = ("1", "6")


@dataclass(frozen=True)
class Trial:
    """One training: what, with which fold left out, from which seed. Without mechanism there is no noise, no clip."""

    mechanism: Mechanism | None
    tuning: Tuning
    fold: int
    seed: int


@lru_cache(maxsize=4)
def _folds(pieces: str) -> list[tuple[Floats, Floats]]:
    """The banks' training records in four parts; which part a record is in does not depend on its encoding."""
    parts: list[list[tuple[Floats, Floats]]] = [[] for _ in range(FOLDS)]
    for number, bank in enumerate(load(Tuning(pieces=pieces)).banks):
        rows = np.random.default_rng(number).permutation(np.flatnonzero(~bank.kept))
        for part, chosen in zip(parts, np.array_split(rows, FOLDS), strict=True):
            part.append((bank.inputs[chosen].astype(np.float32), bank.labels[chosen].astype(np.float32)))
    return [(np.concatenate([x for x, _ in part]), np.concatenate([y for _, y in part])) for part in parts]


def noise_deviation(trial: Trial) -> float:
    """Of the noise in the sum of all banks' gradients, in one round."""
    if trial.mechanism is None:
        return 0.0
    case = load(trial.tuning)
    quorum = len(case.banks) if trial.mechanism == "Distributed" else None
    plan = resolve(case.asks(EPSILON, trial.mechanism), trial.tuning.rounds, case.banks[0].records, quorum=quorum)
    whole = float(plan.noise_multipliers[0]) * float(plan.clip)
    return whole if quorum else whole * len(case.banks) ** 0.5


def score(trial: Trial) -> float:
    """AUC on the fold that was left out."""
    folds, case = _folds(trial.tuning.pieces), load(trial.tuning)
    learned = [fold for index, fold in enumerate(folds) if index != trial.fold]
    inputs, labels = (np.concatenate([fold[side] for fold in learned]) for side in (0, 1))
    share = len(labels) / sum(len(y) for _, y in folds)
    batch = share * sum(bank.records for bank in case.banks)
    deviation = share * noise_deviation(trial)
    clip = None if trial.mechanism is None else float(trial.tuning.clip)
    network = Network(inputs.shape[1], trial.tuning.hidden)
    strategy, arrays = build_strategy(case.spec.aggregation), network.arrays(network.first(trial.seed))
    noise = np.random.default_rng([trial.seed, trial.fold])
    for _ in range(trial.tuning.rounds):
        model = network.flat(arrays).astype(np.float32)
        found = network.gradient_sum(model, inputs, labels, clip).astype(np.float64)
        found += noise.normal(0, deviation, network.size)
        arrays = strategy.aggregate(arrays, [Update("all", network.named(network.flat(arrays) - found / batch), 1)])
    tested, truths = folds[trial.fold]
    area = auc(truths.astype(np.float64), network.scores(network.flat(arrays), tested).astype(np.float64))
    assert area is not None
    return area


def settings(hidden: tuple[int, ...]) -> list[Tuning]:
    """The grid."""
    return [
        Tuning(rounds, f"{steepness * float(tau):g}", tau, clip, pieces, hidden)
        for rounds, clip, tau, steepness, pieces in itertools.product(ROUNDS, CLIPS, TAUS, STEEPNESS, PIECES)
    ]


def ranked(
    mechanism: Mechanism | None, tunings: list[Tuning], folds: int, seeds: int, processes: int
) -> list[tuple[float, float, Tuning]]:
    """(mean AUC, its standard error, setting), the best first."""
    trials = [Trial(mechanism, t, f, s) for t in tunings for f in range(folds) for s in range(seeds)]
    with multiprocessing.Pool(processes) as pool:
        areas = np.reshape(pool.map(score, trials, chunksize=4), (len(tunings), -1))
    errors = areas.std(axis=1, ddof=1) / areas.shape[1] ** 0.5
    rows = zip(areas.mean(axis=1).tolist(), errors.tolist(), tunings, strict=True)
    return sorted(rows, key=lambda row: -row[0])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench settings_search")
    parser.add_argument("--hidden", default="64", help="units of each hidden layer, with commas")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    tunings = settings(tuple(int(units) for units in options.hidden.split(",")))
    mechanisms: tuple[Mechanism | None, ...] = (None, "Local", "Distributed")
    metrics = {}
    for mechanism in mechanisms:
        # Without noise nothing is clipped: the clip is no setting.
        asked = tunings if mechanism else list(dict.fromkeys(replace(t, clip="1") for t in tunings))
        first = ranked(mechanism, asked, 2, 1, options.processes)
        print(f"{mechanism}: {len(first)} settings, one seed, two folds", flush=True)
        best = ranked(mechanism, [tuning for *_, tuning in first[:BEST]], FOLDS, 3, options.processes)
        for title, rows in (("first", first[: 2 * BEST]), ("second", best)):
            for mean, error, tuning in rows:
                print(f"  {title} {mean:.4f} ({error:.4f}) {tuning}", flush=True)
        metrics[f"cv_auc_{(mechanism or 'plain').lower()}"] = round(best[0][0], 4)
    print(json.dumps({"name": "settings_search", "metrics": metrics}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
