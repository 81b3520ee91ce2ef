"""The column EPSILON of a job with distributed noise: what is spent, of what may be, against the same adversary."""

import pytest

from hanse.api.job import AdversaryEpsilon, FederatedJobStatus, JobPrivacy
from hanse.api.privacy import DifferentialPrivacy
from hanse.controller.reconcile import summary
from hanse.dp import epsilons, resolve

SILO = {"unit": "Silo", "mechanism": "Distributed", "epsilon": "3", "delta": "1e-5", "clip": "1"}


@pytest.mark.parametrize(("quorum", "colluding", "column"), [(3, 0, "3.0/3.0"), (4, 1, "3.0/3.0"), (3, 1, "4.4/4.4")])
def test_spent_and_worst_are_against_the_same(quorum: int, colluding: int, column: str) -> None:
    """Of three owners one may get both halves of a round in which two verify each: one share alone counts."""
    asked = DifferentialPrivacy.model_validate(SILO)
    plan = resolve(asked, 5, None, quorum=quorum, collusion_threshold=colluding)
    spent = [
        AdversaryEpsilon(adversary=adversary, spent=f"{value:.6f}")
        for adversary, value in epsilons(plan, plan.slots()).items()
    ]
    privacy = JobPrivacy(mechanism="Distributed", asked=plan.epsilon, delta=plan.delta, plan=plan, epsilon=spent)

    assert summary.build(None, FederatedJobStatus(privacy=privacy)).epsilon == column
