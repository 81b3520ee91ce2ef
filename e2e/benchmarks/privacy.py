"""What privacy costs: AUC of examples/credit-private on the held-out customers, by unit and epsilon.

usage: python -m e2e.benchmarks.privacy [--seeds N] [--only ROW]

`scripts/bench privacy` calls it. In this process, without torch: the gate's own clip, grid, noise and histograms, the
accountant's calibration, the server's decoding and strategy, the example's manifests; only epsilon and unit are set.
The app's gradients are computed in numpy (`logistic`; operator/tests/torch compares them). Epsilon is that of all that
leaves, metrics included, as a ledger would have it. The settings were chosen by cross-validation over the
banks' own records.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from e2e.benchmarks.logistic import Floats, gradient_sum, scores
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.api.participation import JobRef
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, ReleaseKind, Slot
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.dp import epsilon as epsilon_of
from hanse.dp import resolve, spent_rdp
from hanse.runtime.aggregation import Arrays, Update, build_strategy
from hanse.runtime.aggregation.features import Encoding
from hanse.runtime.aggregation.histograms import evaluation_metrics
from hanse.runtime.aggregation.received import Receiver, learning_rate
from hanse.runtime.apps.counts import count_scores
from hanse.runtime.apps.scores import auc
from hanse.runtime.apps.split import evaluation_mask
from hanse.runtime.apps.table import Table, read_table
from hanse.runtime.codec import Layout
from hanse.runtime.gate.histograms import evaluation_histograms
from hanse.runtime.gate.updates import Updates
from hanse.runtime.noise import ReleaseNoise

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = ROOT / "examples" / "credit-private"
DATA: Final = ROOT / "examples" / "credit" / "data"
#: Unit Silo: steps of gradient descent of one bank in one round, and rounds. Not tuned.
SILO_STEPS: Final = 10
SILO_ROUNDS: Final = 10
EVALUATION_FRACTION: Final = 0.1  # the app's default
MILLION: Final = 1_000_000


@dataclass(frozen=True)
class Bank:
    """One owner's records as the model takes them; `kept` are for evaluation."""

    name: str
    records: int
    inputs: Floats
    labels: Floats
    kept: "np.ndarray[Any, np.dtype[np.bool_]]"


@dataclass(frozen=True)
class Outcome:
    """One training: the model's AUC on the held-out set, what it cost, and the AUC that the job itself showed."""

    auc: float
    epsilon: float
    shown: float | None = None


@dataclass(frozen=True)
class Case:
    """The example's manifests and data."""

    spec: FederatedJobSpec
    banks: list[Bank]
    held_out: tuple[Floats, Floats]

    @property
    def privacy(self) -> DifferentialPrivacy:
        """What the example asks."""
        assert self.spec.privacy is not None
        assert self.spec.privacy.differential_privacy is not None
        return self.spec.privacy.differential_privacy


def load() -> Case:
    """Read examples/credit-private."""
    documents = [d for f in ("job", "participants") for d in yaml.safe_load_all((EXAMPLE / f"{f}.yaml").read_text())]
    spec = FederatedJobSpec.model_validate(next(d["spec"] for d in documents if d["kind"] == "FederatedJob"))
    owners = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Participant"}
    pieces = int(spec.app.config["pieces"])
    banks = []
    for name, owner in owners.items():
        dataset = ParticipantSpec.model_validate(owner).datasets[0]
        schema = dataset.schema_
        assert schema is not None
        encoding = Encoding(
            tuple((float(schema.ranges[f].low), float(schema.ranges[f].high)) for f in schema.features), pieces
        )
        table = read_table(DATA / f"{name}.csv.gz", schema)
        kept = evaluation_mask(table.ids, EVALUATION_FRACTION)
        banks.append(Bank(name, dataset.records or 0, *_prepared(table, encoding), kept))
        held_out = _prepared(read_table(DATA / "held-out.csv.gz", schema), encoding)
    return Case(spec, banks, held_out)


def _prepared(table: Table, encoding: Encoding) -> tuple[Floats, Floats]:
    return encoding.apply(table.values, None).astype(np.float64), table.labels.astype(np.float64)


def plan_for(asked: DifferentialPrivacy, rounds: int, bank: Bank) -> PrivacyPlan:
    """What the operator would resolve."""
    return resolve(asked, rounds, bank.records)


class Gate:
    """One bank: its app's update, clipped, noised and encoded by the gate's modules; and all releases that it made."""

    def __init__(self, bank: Bank, plan: PrivacyPlan, layout: Layout, state: Path) -> None:
        self.bank, self.plan, self.releases = bank, plan, list[Slot]()
        self._layout = layout
        self._updates = Updates(layout, _hash(bank), plan, None, state / bank.name)
        self._updates.check()

    def train(self, number: int, model: Floats, rate: float) -> "np.ndarray[Any, Any]":
        """The bytes that leave in round `number`."""
        bank, rows = self.bank, ~self.bank.kept
        inputs, labels = bank.inputs[rows], bank.labels[rows]
        if self.plan.unit == "Record":
            # The example's sample rate is 1: everybody is drawn.
            update = gradient_sum(model, inputs, labels, float(self.plan.clip))
        else:
            update = descend(model, inputs, labels, rate) - model
        slot = self._take(ReleaseKind.TRAIN, number)
        return np.frombuffer(self._updates.encode(self._layout.flatten(named(update)), slot), np.uint8)

    def evaluate(self, number: int, model: Floats) -> dict[str, "np.ndarray[Any, Any]"]:
        """The noised histograms that leave after round `number`."""
        assert self.plan.evaluation is not None
        self._take(ReleaseKind.EVALUATE, number)
        bank, bins = self.bank, self.plan.evaluation.bins
        counts = count_scores(bank.labels[bank.kept].astype(np.float32), scores(model, bank.inputs[bank.kept]), bins)
        form = evaluation_histograms(bins, self.plan.unit, bank.records)
        noised = form.release(dict(counts), float(self.plan.evaluation.noise_multiplier), ReleaseNoise())
        return form.unpack(noised)

    def _take(self, kind: ReleaseKind, number: int) -> Slot:
        slot = Slot(kind, number)
        assert self.plan.allows(slot)
        self.releases.append(slot)
        return slot


def descend(model: Floats, inputs: Floats, labels: Floats, rate: float) -> Floats:
    """A few steps of gradient descent on one bank's records."""
    for _ in range(SILO_STEPS):
        model = model - rate * gradient_sum(model, inputs, labels, None) / len(labels)
    return model


def first_model(columns: int, seed: int) -> Floats:
    """The law of torch's linear layer: uniform within 1 / sqrt(columns)."""
    bound = columns**-0.5
    return np.random.default_rng(seed).uniform(-bound, bound, columns + 1).astype(np.float32).astype(np.float64)


def arrays_of(model: Floats) -> Arrays:
    """The model as the app sends it."""
    return {name: array.astype(np.float32) for name, array in named(model).items()}


def named(vector: Floats) -> Arrays:
    """By the app's names."""
    return {"layer0.weight": vector[None, :-1], "layer0.bias": vector[-1:]}


def flat(arrays: Arrays) -> Floats:
    """The inverse of `arrays_of`."""
    return np.append(arrays["layer0.weight"].ravel(), arrays["layer0.bias"]).astype(np.float64)


def private(case: Case, asked: DifferentialPrivacy, rounds: int, banks: list[Bank], seed: int) -> Outcome:
    """A whole job of these banks."""
    plans = [plan_for(asked, rounds, bank) for bank in banks]
    config = _run_config(case.spec, plans, banks, rounds)
    receiver, strategy = Receiver(config), build_strategy(config.aggregation)
    arrays = arrays_of(first_model(banks[0].inputs.shape[1], seed))
    rate = learning_rate(config.config)
    shown = None
    with tempfile.TemporaryDirectory() as scratch:
        layout = Layout.of(arrays, [])
        gates = [Gate(bank, plan, layout, Path(scratch)) for bank, plan in zip(banks, plans, strict=True)]
        for number in range(1, rounds + 1):
            model, updates = flat(arrays), []
            for gate, told in zip(gates, config.participants, strict=True):
                received = receiver.update(arrays, told, number, gate.train(number, model, rate))
                updates.append(Update(told.name, received, gate.bank.records))
            arrays = strategy.aggregate(arrays, updates)
            if plans[0].evaluates(number):
                told_counts = [gate.evaluate(number, flat(arrays)) for gate in gates]
                summed = {name: np.sum([c[name] for c in told_counts], axis=0) for name in told_counts[0]}
                shown = evaluation_metrics(summed).get("auc")
    cost = max(epsilon_of(spent_rdp(g.plan, g.releases), float(g.plan.delta)) for g in gates)
    return Outcome(held_out(case, arrays), cost, shown)


def plain(case: Case, banks: list[Bank], seed: int) -> Outcome:
    """The same job without clip and noise."""
    strategy = build_strategy(case.spec.aggregation)
    rate = learning_rate(case.spec.app.config)
    arrays = arrays_of(first_model(banks[0].inputs.shape[1], seed))
    for _ in range(case.spec.rounds):
        model, updates = flat(arrays), []
        for bank in banks:
            inputs, labels = bank.inputs[~bank.kept], bank.labels[~bank.kept]
            moved = model - rate * gradient_sum(model, inputs, labels, None) / len(labels)
            updates.append(Update(bank.name, arrays_of(moved), bank.records))
        arrays = strategy.aggregate(arrays, updates)
    return Outcome(held_out(case, arrays), float("inf"))


def held_out(case: Case, arrays: Arrays) -> float:
    """AUC on the 6,000 customers that no bank has."""
    inputs, labels = case.held_out
    found = auc(labels, scores(flat(arrays), inputs))
    assert found is not None
    return found


def _hash(bank: Bank) -> str:
    return f"sha256:{bank.name}"


def _run_config(spec: FederatedJobSpec, plans: list[PrivacyPlan], banks: list[Bank], rounds: int) -> RunConfig:
    told = [
        ServerParticipant(
            name=bank.name,
            index=index,
            public_key="-",
            records=bank.records,
            expected_batch=plan.expected_batch,
            plan_hash=_hash(bank),
        )
        for index, (bank, plan) in enumerate(zip(banks, plans, strict=True))
    ]
    job = JobRef(namespace="consortium", name="credit-private", uid="00000000-0000-4000-8000-000000000001")
    changes: dict[str, Any] = {"rounds": rounds}
    if plans[0].unit == "Silo":
        changes["aggregation"] = spec.aggregation.model_copy(
            update={"strategy": "FedAvg", "server_learning_rate": None, "tau": None}
        )
    config = RunConfig.from_spec(spec.model_copy(update=changes), job, told, output_path="model.safetensors")
    return config.model_copy(update={"privacy": plans[0].model_copy(update={"expected_batch": None})})


def asked(case: Case, epsilon: str, unit: str = "Record") -> DifferentialPrivacy:
    """The example's, at another epsilon or unit."""
    changes: dict[str, Any] = {"epsilon": epsilon}
    if unit == "Silo":
        changes |= {"unit": "Silo", "sample_rate": None, "evaluation": None}
    return case.privacy.model_copy(update=changes)


Row = tuple[str, Callable[[int], list[Outcome]]]


def rows(case: Case) -> list[Row]:
    """Name of each row, and its outcomes for a seed (several for local-only: one a bank)."""
    banks = case.banks

    def record(epsilon: str, *groups: list[Bank]) -> Callable[[int], list[Outcome]]:
        return lambda seed: [private(case, asked(case, epsilon), case.spec.rounds, g, seed) for g in groups]

    def silo(epsilon: str) -> Callable[[int], list[Outcome]]:
        return lambda seed: [private(case, asked(case, epsilon, "Silo"), SILO_ROUNDS, banks, seed)]

    alone = [[bank] for bank in banks]
    return [
        ("plain", lambda seed: [plain(case, banks, seed)]),
        ("plain_alone", lambda seed: [plain(case, g, seed) for g in alone]),
        *((f"local_eps{e}", record(e, banks)) for e in ("8", "3", "1", "0.5")),
        *((f"local_eps{e}_alone", record(e, *alone)) for e in ("3", "1")),
        *((f"silo_eps{e}", silo(e)) for e in ("3", "50", "200")),
    ]


def noise_seconds() -> float:
    """CPU seconds for the noise of a million parameters, the fastest of three; the table is made before."""
    sigma, taken = 1e5, []
    ReleaseNoise().draw(sigma, 1)
    for _ in range(3):
        start = time.process_time()
        ReleaseNoise().draw(sigma, MILLION)
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> int:
    """The command line; the last line is one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench privacy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", action="append", help="a row's name, for example local_eps3")
    options = parser.parse_args()
    case = load()
    metrics: dict[str, float] = {}
    print(f"{'':20} {'AUC':>7}  of the seeds{'':14} epsilon  AUC that the job showed", flush=True)
    for name, outcomes in rows(case):
        if options.only and name not in options.only:
            continue
        runs = [outcomes(seed) for seed in range(options.seeds)]
        areas = [float(np.mean([o.auc for o in run])) for run in runs]
        cost = max(o.epsilon for run in runs for o in run)
        shown = [f"{o.shown:.3f}" for run in runs for o in run if o.shown is not None]
        metrics[f"auc_{name}"] = round(float(np.mean(areas)), 4)
        each = ", ".join(f"{area:.4f}" for area in areas)
        print(f"{name:20} {np.mean(areas):7.4f}  ({each}) {cost:9.4f}  {' '.join(shown)}", flush=True)
    metrics["noise_seconds_per_million"] = round(noise_seconds(), 4)
    print(json.dumps({"name": "privacy", "metrics": metrics}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
