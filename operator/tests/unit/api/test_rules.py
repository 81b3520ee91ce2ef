"""Rules of the models: bounds, units, and that every rule names a field that exists."""

import pytest
from pydantic import ValidationError

from hanse.api.aggregation import Aggregation
from hanse.api.budget import Account, Closed, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.compression import Compression, Sparsity
from hanse.api.job import AppSpec, FederatedJobSpec, OutputSpec
from hanse.api.meta import ApiModel
from hanse.api.participant import (
    ColumnRange,
    DatasetSchema,
    DatasetSource,
    ParticipantPolicy,
    ParticipantSpec,
    Resources,
    Toleration,
    parse_quantity,
)
from hanse.api.privacy import DifferentialPrivacy, PrivateEvaluation, PrivateStatistics, Schedule

WITH_RULES: list[type[ApiModel]] = [
    Account,
    Aggregation,
    AppSpec,
    Closed,
    ColumnRange,
    Compression,
    DatasetSchema,
    DatasetSource,
    DifferentialPrivacy,
    FederatedJobSpec,
    OutputSpec,
    ParticipantPolicy,
    ParticipantSpec,
    PrivacyBudgetSpec,
    PrivacyBudgetStatus,
    PrivateEvaluation,
    PrivateStatistics,
    Resources,
    Schedule,
    Sparsity,
    Toleration,
]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("500m", 0.5), ("2Ki", 2048), ("1.5G", 1.5e9), ("1Ti", 2**40), ("3k", 3000), ("7M", 7e6)],
)
def test_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("model", WITH_RULES)
def test_rules_name_a_field_of_their_model(model: type[ApiModel]) -> None:
    wire = {info.alias for info in model.model_fields.values()}
    assert {rule.field for rule in model.RULES if rule.field} <= wire
    assert all(len(rule.message) <= 256 for rule in model.RULES)


@pytest.mark.parametrize(("beta", "fits"), [("0", True), ("0.999999", True), ("1", False), ("1e0", False)])
def test_a_decay_is_below_one(beta: str, fits: bool) -> None:
    if fits:
        assert Aggregation(strategy="FedAdam", beta1=beta).beta1 == beta
    else:
        with pytest.raises(ValidationError, match="beta1 must be less than 1"):
            Aggregation(strategy="FedAdam", beta1=beta)


def test_a_rule_says_what_to_do() -> None:
    with pytest.raises(ValidationError, match="remove it or set strategy to FedProx"):
        Aggregation.model_validate({"proximalMu": "0.1"})
