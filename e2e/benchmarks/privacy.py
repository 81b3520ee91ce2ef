"""What privacy costs: AUC of examples/credit-private on the held-out customers, by unit, mechanism and epsilon.

usage: python -m e2e.benchmarks.privacy [--seeds N] [--only ROW]

`scripts/bench privacy` calls it. In this process, without torch: the gates' own code (`local_noise`, `encrypted`) on
the example's manifests; only epsilon, unit and mechanism are set. The app's gradients are computed in numpy
(`network`; operator/tests/torch compares them). Epsilon is that of all that leaves, metrics included, as a ledger
would have it: against outsiders, and beside it against the server with one participant, who sees single updates. The
settings were chosen by cross-validation over the banks' own records.

Metrics made of rows: `he_delta`, the largest difference that encryption alone made for any seed;
`distributed_gain_eps1`, the mean of distributed minus local at epsilon 1, the example's settings for both; with `_same`
the settings that were best for distributed noise, for both; with `_tuned` those that were best for each; with
`_24_owners` the same where as many records lie with 24 owners instead of three; `_mlp` the three owners again with the
app's own MLP (its default hidden layer) in place of the example's logistic regression, the settings that were best for
each (`settings_search`); `_stderr` is each one's standard error.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from e2e.benchmarks.credit import Bank, Case, Tuning, load
from e2e.benchmarks.encrypted import distributed, encrypted
from e2e.benchmarks.local_noise import Outcome, plain, private
from e2e.benchmarks.network import HIDDEN
from hanse.runtime.noise import ReleaseNoise

#: Unit Silo: rounds. Not tuned.
SILO_ROUNDS: Final = 10
MILLION: Final = 1_000_000
OWNERS: Final = 24
#: Rows of whose small differences a metric is made have so many times the seeds.
MORE: Final = 3
PRECISE: Final = (
    "local_eps1",
    "dist_eps1",
    "dist_eps1_tuned",
    "local_eps1_same",
    "local_eps1_tuned",
    "dist_eps1_mlp",
    "local_eps1_mlp",
)

Row = tuple[str, Callable[[int], list[Outcome]]]


def regrouped(banks: list[Bank], owners: int) -> list[Bank]:
    """The same records with more owners, as equally as it goes, mixed."""
    inputs, labels, kept = (np.concatenate([getattr(b, what) for b in banks]) for what in ("inputs", "labels", "kept"))
    order = np.random.default_rng(owners).permutation(len(labels))
    parts = np.array_split(order, owners)
    return [Bank(f"owner-{i}", len(p), inputs[p], labels[p], kept[p]) for i, p in enumerate(parts, 1)]


def rows(case: Case) -> list[Row]:
    """Name of each row, and its outcomes for a seed (several for local-only: one a bank)."""
    banks = case.banks
    alone = [[bank] for bank in banks]
    many = regrouped(banks, OWNERS)

    def local(epsilon: str, *groups: list[Bank], of: Case = case) -> Callable[[int], list[Outcome]]:
        asked = of.asks(epsilon, "Local")
        return lambda seed: [private(of, asked, of.spec.rounds, group, seed) for group in groups]

    def silo(epsilon: str) -> Callable[[int], list[Outcome]]:
        return lambda seed: [private(case, case.asks(epsilon, "Local", "Silo"), SILO_ROUNDS, banks, seed)]

    def dist(epsilon: str, group: list[Bank], of: Case = case) -> Callable[[int], list[Outcome]]:
        asked = of.asks(epsilon, "Distributed")
        return lambda seed: [distributed(of, asked, group, seed)]

    best = {name: load(tuning) for name, tuning in (TUNED | TUNED_MLP).items()}
    return [
        ("plain", lambda seed: [plain(case, banks, seed)]),
        ("plain_alone", lambda seed: [plain(case, g, seed) for g in alone]),
        ("he", lambda seed: [encrypted(case, banks, seed)]),
        *((f"local_eps{e}", local(e, banks)) for e in ("8", "3", "1", "0.5")),
        *((f"local_eps{e}_alone", local(e, *alone)) for e in ("3", "1")),
        *((f"dist_eps{e}", dist(e, banks)) for e in ("3", "1", "0.5")),
        ("dist_eps1_tuned", dist("1", banks, of=best["dist"])),
        ("local_eps1_same", local("1", banks, of=best["dist"])),
        ("local_eps1_tuned", local("1", banks, of=best["local"])),
        (f"dist_eps1_{OWNERS}_owners", dist("1", many, of=best["dist"])),
        (f"local_eps1_{OWNERS}_owners", local("1", many, of=best["local_many"])),
        *((f"silo_eps{e}", silo(e)) for e in ("3", "50", "200")),
        ("plain_mlp", lambda seed: [plain(best["plain_mlp"], best["plain_mlp"].banks, seed)]),
        ("dist_eps1_mlp", dist("1", best["dist_mlp"].banks, of=best["dist_mlp"])),
        ("local_eps1_mlp", local("1", best["local_mlp"].banks, of=best["local_mlp"])),
    ]


#: For epsilon 1: the best of 55 settings by fourfold cross-validation on the banks' training records, five seeds each:
#: rounds 60, 100, 160; clip .5, .75, 1; five pairs of rate and tau; pieces 4, 6, 8. Distributed noise does not depend
#: on the number of owners, local noise does.
TUNED: Final = {
    "dist": Tuning(rounds=100, rate="0.3", tau="0.02", clip="1"),
    "local": Tuning(rounds=100, rate="0.3", tau="0.02", clip="0.75"),
    "local_many": Tuning(rounds=100, rate="0.6", tau="0.08", clip="0.5"),
}

#: For the MLP: the best for each by `settings_search`, of 216 settings each and 54 without noise. For distributed noise
#: what is best for local noise is .0001 behind.
TUNED_MLP: Final = {
    "plain_mlp": Tuning(rounds=100, rate="2", tau="0.2", hidden=HIDDEN),
    "dist_mlp": Tuning(rounds=100, rate="0.02", tau="0.002", clip="4", hidden=HIDDEN),
    "local_mlp": Tuning(rounds=100, rate="0.6", tau="0.2", clip="2", hidden=HIDDEN),
}


def noise_seconds() -> float:
    """CPU seconds for the noise of a million parameters, the fastest of three; the table is made before."""
    sigma, taken = 1e5, []
    ReleaseNoise().draw(sigma, 1)
    for _ in range(3):
        start = time.process_time()
        ReleaseNoise().draw(sigma, MILLION)
        taken.append(time.process_time() - start)
    return min(taken)


def derived(areas: dict[str, list[float]]) -> dict[str, float]:
    """Metrics made of several rows' AUC by seed; those whose rows were run."""
    made = {}
    if {"he", "plain"} <= areas.keys():
        made["he_delta"] = float(np.max(np.abs(np.subtract(areas["he"], areas["plain"]))))
    pairs = {"": "", "_same": "_tuned", "_tuned": "_tuned", f"_{OWNERS}_owners": f"_{OWNERS}_owners", "_mlp": "_mlp"}
    for suffix, with_shares in pairs.items():
        dist, local = areas.get(f"dist_eps1{with_shares}"), areas.get(f"local_eps1{suffix}")
        if dist is None or local is None:
            continue
        made[f"distributed_gain_eps1{suffix}"] = float(np.mean(dist) - np.mean(local))
        if min(len(dist), len(local)) > 1:
            variances = [float(np.var(found, ddof=1)) / len(found) for found in (dist, local)]
            made[f"distributed_gain_eps1{suffix}_stderr"] = sum(variances) ** 0.5
    return {name: _worse(name, value) for name, value in made.items()}


def _worse(name: str, value: float) -> float:
    """Rounded towards the worse: no bar is met by rounding."""
    if name == "he_delta" or name.endswith("_stderr"):
        return float(np.ceil(value * 1e6) / 1e6)
    return float(np.floor(value * 1e4) / 1e4)


def main() -> int:
    """The command line; the last line is one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench privacy")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", action="append", help="a row's name, for example local_eps3")
    options = parser.parse_args()
    areas: dict[str, list[float]] = {}
    print(f"{'':22} {'AUC':>7}  {'of the seeds':34} epsilon  with the key  AUC that the job showed", flush=True)
    for name, outcomes in rows(load()):
        if options.only and name not in options.only:
            continue
        runs = [outcomes(seed) for seed in range(options.seeds * (MORE if name in PRECISE else 1))]
        areas[name] = [float(np.mean([o.auc for o in run])) for run in runs]
        cost, alone = (max(getattr(o, of) for run in runs for o in run) for of in ("epsilon", "alone"))
        shown = [f"{o.shown:.3f}" for run in runs for o in run if o.shown is not None]
        each = ", ".join(f"{area:.4f}" for area in areas[name][:4])
        mean = float(np.mean(areas[name]))
        print(f"{name:22} {mean:7.4f}  ({each}) {cost:9.4f} {alone:9.4f}  {' '.join(shown[:12])}", flush=True)
    metrics = {f"auc_{name}": round(float(np.mean(found)), 4) for name, found in areas.items()}
    metrics |= {**derived(areas), "noise_seconds_per_million": round(noise_seconds(), 4)}
    print(json.dumps({"name": "privacy", "metrics": metrics}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
