"""The data and the model of examples/credit-private for measurements in one process; used by `privacy`.

Without torch: the app's encoding and split, its models in numpy (`network`).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from e2e.benchmarks.network import Floats, Network
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.api.privacy import DifferentialPrivacy, Mechanism
from hanse.runtime.aggregation import Arrays
from hanse.runtime.aggregation.features import Encoding
from hanse.runtime.apps.scores import auc
from hanse.runtime.apps.split import evaluation_mask
from hanse.runtime.apps.table import Table, read_table

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = ROOT / "examples" / "credit-private"
DATA: Final = ROOT / "examples" / "credit" / "data"
EVALUATION_FRACTION: Final = 0.1  # the app's default
#: Unit Silo: steps of gradient descent of one bank in one round. Not tuned.
SILO_STEPS: Final = 10


@dataclass(frozen=True)
class Tuning:
    """What cross-validation may choose; the rest is the example's."""

    rounds: int = 60
    rate: str = "0.3"
    tau: str = "0.02"
    clip: str = "1"
    pieces: str = "6"
    hidden: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bank:
    """One owner's records as the model takes them; `kept` are for evaluation."""

    name: str
    records: int
    inputs: Floats
    labels: Floats
    kept: "np.ndarray[Any, np.dtype[np.bool_]]"


@dataclass(frozen=True)
class Case:
    """The example's manifests and data, and the model: the example's logistic regression, or what `Tuning` says."""

    spec: FederatedJobSpec
    network: Network
    banks: list[Bank]
    held_out: tuple[Floats, Floats]

    def asks(self, epsilon: str, mechanism: Mechanism, unit: str = "Record") -> DifferentialPrivacy:
        """The example's, at another epsilon, mechanism or unit."""
        assert self.spec.privacy is not None
        assert self.spec.privacy.differential_privacy is not None
        changes: dict[str, Any] = {"epsilon": epsilon, "mechanism": mechanism}
        if unit == "Silo":
            changes |= {"unit": "Silo", "sample_rate": None, "evaluation": None}
        return self.spec.privacy.differential_privacy.model_copy(update=changes)

    @property
    def in_the_open(self) -> FederatedJobSpec:
        """The job without encryption, for what is measured without."""
        assert self.spec.privacy is not None
        changes = {"encryption": None, "collusion_threshold": 0}
        return self.spec.model_copy(update={"privacy": self.spec.privacy.model_copy(update=changes)})

    def auc(self, arrays: Arrays) -> float:
        """On the 6,000 customers that no bank has."""
        inputs, labels = self.held_out
        found = auc(labels, self.network.scores(self.network.flat(arrays), inputs))
        assert found is not None
        return found


@lru_cache(maxsize=16)
def load(tuning: Tuning | None = None) -> Case:
    """Read examples/credit-private; `tuning` changes its settings."""
    documents = [d for f in ("job", "participants") for d in yaml.safe_load_all((EXAMPLE / f"{f}.yaml").read_text())]
    asked = next(d["spec"] for d in documents if d["kind"] == "FederatedJob")
    if tuning is not None:
        asked["rounds"] = tuning.rounds
        asked["app"]["config"]["pieces"] = tuning.pieces
        if tuning.hidden:
            asked["app"]["config"] |= {"model": "mlp", "hidden-units": ",".join(map(str, tuning.hidden))}
        asked["aggregation"] |= {"serverLearningRate": tuning.rate, "tau": tuning.tau}
        private = asked["privacy"]["differentialPrivacy"]
        private["clip"] = tuning.clip
        private["evaluation"]["everyRounds"] = tuning.rounds
    spec = FederatedJobSpec.model_validate(asked)
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
    network = Network(held_out[0].shape[1], tuning.hidden if tuning else ())
    return Case(spec, network, banks, held_out)


def _prepared(table: Table, encoding: Encoding) -> tuple[Floats, Floats]:
    return encoding.apply(table.values, None).astype(np.float64), table.labels.astype(np.float64)


def descend(network: Network, model: Floats, inputs: Floats, labels: Floats, rate: float) -> Floats:
    """A few steps of gradient descent on one bank's records."""
    for _ in range(SILO_STEPS):
        model = model - rate * network.gradient_sum(model, inputs, labels, None) / len(labels)
    return model
