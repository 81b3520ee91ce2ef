"""Jobs of examples/credit-private without encryption in one process: every gate adds the whole noise; for `privacy`.

The gate's own clip, grid, noise and histograms, the accountant's calibration, the server's decoding and strategy.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from e2e.benchmarks.credit import Bank, Case, descend
from e2e.benchmarks.network import Floats, Network
from hanse.api.job import FederatedJobSpec
from hanse.api.participation import JobRef
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, ReleaseKind, Slot
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.dp import epsilons, resolve
from hanse.runtime.aggregation import Update, build_strategy
from hanse.runtime.aggregation.histograms import evaluation_metrics
from hanse.runtime.aggregation.received import Receiver, learning_rate
from hanse.runtime.apps.counts import count_scores
from hanse.runtime.codec import Layout
from hanse.runtime.gate.histograms import evaluation_histograms
from hanse.runtime.gate.updates import Updates
from hanse.runtime.noise import ReleaseNoise

JOB: Final = JobRef(namespace="consortium", name="credit-private", uid="00000000-0000-4000-8000-000000000001")


@dataclass(frozen=True)
class Outcome:
    """One training: the model's AUC on the held-out set, epsilon, and the AUC that the job itself showed.

    `epsilon` is against outsiders, `alone` against the server together with one participant.
    """

    auc: float
    epsilon: float
    alone: float
    shown: float | None = None


class Histograms:
    """The noised counts of one bank's evaluations, and all releases that it made."""

    def __init__(self, network: Network, bank: Bank, plan: PrivacyPlan) -> None:
        self.network, self.bank, self.plan, self.releases = network, bank, plan, list[Slot]()

    def evaluate(self, number: int, model: Floats) -> dict[str, "np.ndarray[Any, Any]"]:
        """The noised histograms that leave after round `number`."""
        assert self.plan.evaluation is not None
        self.take(ReleaseKind.EVALUATE, number)
        bank, bins = self.bank, self.plan.evaluation.bins
        scores = self.network.scores(model, bank.inputs[bank.kept]).astype(np.float64)
        counts = count_scores(bank.labels[bank.kept].astype(np.float32), scores, bins)
        form = evaluation_histograms(bins, self.plan.unit, bank.records)
        noised = form.release(dict(counts), float(self.plan.evaluation.noise_multiplier), ReleaseNoise())
        return form.unpack(noised)

    def take(self, kind: ReleaseKind, number: int) -> Slot:
        """A release of the plan."""
        slot = Slot(kind, number)
        assert self.plan.allows(slot)
        self.releases.append(slot)
        return slot


class Gate(Histograms):
    """One bank: its app's update, clipped, noised and encoded by the gate's modules."""

    def __init__(self, network: Network, bank: Bank, plan: PrivacyPlan, layout: Layout, state: Path) -> None:
        super().__init__(network, bank, plan)
        self._layout = layout
        self._updates = Updates(layout, _hash(bank), plan, None, state / bank.name)
        self._updates.check()

    def train(self, number: int, model: Floats, rate: float) -> "np.ndarray[Any, Any]":
        """The bytes that leave in round `number`."""
        bank, rows = self.bank, ~self.bank.kept
        inputs, labels = bank.inputs[rows], bank.labels[rows]
        if self.plan.unit == "Record":
            # The example's sample rate is 1: everybody is drawn.
            update = self.network.gradient_sum(model, inputs, labels, float(self.plan.clip))
        else:
            update = descend(self.network, model, inputs, labels, rate) - model
        slot = self.take(ReleaseKind.TRAIN, number)
        return np.frombuffer(self._updates.encode(self._layout.flatten(self.network.named(update)), slot), np.uint8)


def private(case: Case, asked: DifferentialPrivacy, rounds: int, banks: list[Bank], seed: int) -> Outcome:
    """A whole job of these banks."""
    plans = [resolve(asked, rounds, bank.records) for bank in banks]
    config = _run_config(case.in_the_open, plans, banks, rounds)
    receiver, strategy, network = Receiver(config), build_strategy(config.aggregation), case.network
    arrays = network.arrays(network.first(seed))
    rate = learning_rate(config.config)
    shown = None
    with tempfile.TemporaryDirectory() as scratch:
        layout = Layout.of(arrays, [])
        gates = [Gate(network, bank, plan, layout, Path(scratch)) for bank, plan in zip(banks, plans, strict=True)]
        for number in range(1, rounds + 1):
            model, updates = network.flat(arrays), []
            for gate, told in zip(gates, config.participants, strict=True):
                received = receiver.update(arrays, told, number, gate.train(number, model, rate))
                updates.append(Update(told.name, received, gate.bank.records))
            arrays = strategy.aggregate(arrays, updates)
            if plans[0].evaluates(number):
                shown = shown_auc(gates, number, network.flat(arrays))
    return outcome(case.auc(arrays), gates, shown)


def plain(case: Case, banks: list[Bank], seed: int) -> Outcome:
    """The same job without clip and noise."""
    strategy = build_strategy(case.spec.aggregation)
    rate, network = learning_rate(case.spec.app.config), case.network
    arrays = network.arrays(network.first(seed))
    for _ in range(case.spec.rounds):
        model, updates = network.flat(arrays), []
        for bank in banks:
            inputs, labels = bank.inputs[~bank.kept], bank.labels[~bank.kept]
            moved = model - rate * network.gradient_sum(model, inputs, labels, None) / len(labels)
            updates.append(Update(bank.name, network.arrays(moved), bank.records))
        arrays = strategy.aggregate(arrays, updates)
    return Outcome(case.auc(arrays), float("inf"), float("inf"))


def shown_auc(gates: list[Histograms] | list[Gate], number: int, model: Floats) -> float | None:
    """What the job's own metrics say after round `number`."""
    told = [gate.evaluate(number, model) for gate in gates]
    summed = {name: np.sum([counts[name] for counts in told], axis=0) for name in told[0]}
    return evaluation_metrics(summed).get("auc")


def outcome(area: float, gates: list[Histograms] | list[Gate], shown: float | None) -> Outcome:
    """With what the banks' ledgers would say of all their releases; the largest counts."""
    spent = [epsilons(gate.plan, gate.releases) for gate in gates]
    return Outcome(area, max(s["Outsiders"] for s in spent), max(s["ServerAndOne"] for s in spent), shown)


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
    changes: dict[str, Any] = {"rounds": rounds}
    if plans[0].unit == "Silo":
        changes["aggregation"] = spec.aggregation.model_copy(
            update={"strategy": "FedAvg", "server_learning_rate": None, "tau": None}
        )
    config = RunConfig.from_spec(spec.model_copy(update=changes), JOB, told, output_path="model.safetensors")
    return config.model_copy(update={"privacy": plans[0].model_copy(update={"expected_batch": None})})
