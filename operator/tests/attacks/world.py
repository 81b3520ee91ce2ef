"""One round of one owner as a hostile server sees it: with differential privacy, or with it off."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hanse import dp
from hanse.api.privacy import DifferentialPrivacy, PrivacyPlan, Unit
from hanse.api.runconfig import ClientDataset, RunConfig, ServerParticipant
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.filter import Forward, open_filter
from hanse.runtime.gate.npy import read_array
from tests.unit.runtime.gate.private_pod import Pod, answer, metrics, record, train
from tests.unit.runtime.gate.sample_job import HASH

Arrays = dict[str, NDArray[Any]]

CLIP = 1.0
RATE = 0.1


def plan(unit: Unit, epsilon: str, *, rounds: int = 1, records: int = 1) -> PrivacyPlan:
    """As the operator resolves it: every record in every batch, so the noise is the least that epsilon allows."""
    rate = {"sample_rate": "1.0"} if unit == "Record" else {}
    asked = DifferentialPrivacy(unit=unit, epsilon=epsilon, delta="1e-5", clip=str(CLIP), **rate)
    return dp.resolve(asked, rounds, records)


def without_noise(unit: Unit, *, rounds: int = 1, records: int = 1) -> PrivacyPlan:
    """The same gate, clip and codec, with next to no noise: what the clip alone is worth."""
    return plan(unit, "8", rounds=rounds, records=records).model_copy(
        update={"noise_multipliers": ["0.00001"] * rounds}
    )


def reply(arrays: Arrays) -> Content:
    """What an app returns for train."""
    return {"arrays": record(arrays), "metrics": metrics(**{"num-examples": 1, "train_loss": 0.0})}


class Owner:
    """A gate with privacy. `update` is what the server makes of a release: a difference (Silo) or a sum (Record)."""

    def __init__(self, root: Path, model: Arrays, chosen: PrivacyPlan, records: int = 1) -> None:
        dataset = ClientDataset(name="scans", path="scans.npz", records=records)
        config = {"learning-rate": str(RATE)}
        batch = chosen.expected_batch
        self.pod = Pod(root, chosen, model, dataset=dataset, config=config, smallest_batch=batch)
        self.gate = self.pod.gate()
        self.model = model
        member = ServerParticipant(name="bank-a", index=0, public_key="", plan_hash=HASH, expected_batch=batch)
        self.run = RunConfig(
            job=self.pod.config.job,
            client_app="app:app",
            participants=[member],
            quorum=1,
            rounds=chosen.rounds,
            privacy=chosen,
            config=config,
        )

    def update(self, arrays: Arrays, number: int = 1, model: Arrays | None = None) -> Arrays:
        """The server sends `model` in round `number`, the app returns `arrays`. Raises Refused."""
        asked = self.model if model is None else model
        left = answer(self.gate, train(number, asked), reply(arrays))
        message = read_array("grid", left["update"].arrays["grid"])
        member = self.run.participants[0]
        found = Receiver(self.run).update(asked, member, number, message)
        scale = 1.0 if self.pod.plan.unit == "Silo" else -(member.expected_batch or 1) / RATE
        return {name: (found[name] - asked[name]) * scale for name in found}


def in_the_clear(root: Path, model: Arrays, arrays: Arrays) -> Arrays:
    """Differential privacy off: the difference that the server sees of the arrays that the app returned."""
    config = Pod(root / "unused", model=model).config.model_copy(update={"privacy": None, "population": None})
    gate = open_filter(config, root / "state")
    asked = train(1, model)
    assert isinstance(gate.before(asked), Forward)
    left = gate.after(asked.bare(), reply(arrays))
    return {name: read_array(name, array) - model[name] for name, array in left["arrays"].arrays.items()}
