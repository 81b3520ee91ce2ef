"""Twenty honest rounds of every strategy and unit pass the gates' step bound; a swapped model does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.aggregation import Aggregation
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.runtime.aggregation import Update, build_strategy
from hanse.runtime.aggregation.received import Receiver
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused
from tests.unit.runtime.gate.private_pod import PLAIN, RECORD, SILO, Pod, answer, metrics, record, train
from tests.unit.runtime.gate.sample_job import HASH, UID

ROUNDS = 20


def material(plan: PrivacyPlan, model: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """What an app returns: far beyond the clip (Silo), or a whole batch of aligned gradients (Record)."""
    scale = 100.0 if plan.unit == "Silo" else 10 / np.sqrt(43)
    drift = {name: np.full(a.shape, scale, np.float32) for name, a in model.items()}
    if plan.unit == "Record":
        return {name: a * np.float32(random.choice([-1, 1])) for name, a in drift.items()}
    return {name: model[name] + a for name, a in drift.items()}


@pytest.mark.parametrize("plan", [SILO, RECORD], ids=["Silo", "Record"])
@pytest.mark.parametrize("strategy", ["FedAvg", "FedProx", "FedAdam", "FedYogi"])
def test_honest_rounds_pass_and_a_swapped_model_is_refused(tmp_path: Path, strategy: Any, plan: PrivacyPlan) -> None:
    plan = plan.model_copy(update={"noise_multipliers": ["3"] * ROUNDS})
    aggregation = Aggregation(strategy=strategy)
    pods = [
        Pod(tmp_path / str(i), plan, model=PLAIN, aggregation=aggregation, smallest_batch=10, config={})
        for i in range(2)
    ]
    gates = [pod.gate() for pod in pods]
    run = RunConfig(
        job=JobRef(namespace="consortium", name="credit", uid=UID),
        client_app="app:app",
        participants=[ServerParticipant(name="p", index=0, public_key="", plan_hash=HASH, expected_batch=10)],
        quorum=1,
        rounds=ROUNDS,
        privacy=plan,
        aggregation=aggregation,
    )
    receiver, chosen, model = Receiver(run), build_strategy(aggregation), dict(PLAIN)
    random = np.random.default_rng(0)
    for number in range(1, ROUNDS + 1):
        updates = []
        for gate in gates:
            given = {"arrays": record(material(plan, model, random)), "metrics": metrics(**{"num-examples": 1})}
            left = answer(gate, train(number, model), given)
            message = read_array("grid", left["update"].arrays["grid"])
            updates.append(Update("p", receiver.update(model, run.participants[0], number, message), 100))
        if number == ROUNDS - 1:
            far = {name: a + np.float32(1e4) for name, a in model.items()}
            with pytest.raises(Refused) as refused:
                gates[0].before(train(number + 1, far))
            assert refused.value.code == ReplyCode.STEP_TOO_LARGE
        model = chosen.aggregate(model, updates)
    assert pods[0].paid() == [f"Train-{n}-1" for n in range(1, ROUNDS + 1)]
