"""How updates become the next global model, and when to stop: parts of the FederatedJob's spec.

Read by the operator, the aggregator and `hanse run`.
"""

from typing import ClassVar, Final, Literal

from pydantic import Field

from hanse.api.meta import ApiModel, Decimal, PositiveDecimal
from hanse.api.rules import Rule, between

METRIC_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?$"

StrategyName = Literal["FedAvg", "FedProx", "FedAdam", "FedYogi"]
Weights = Literal["RecordCount", "Equal"]


class StopRule(ApiModel):
    """Stop early when a metric crosses a value."""

    metric: str = Field(
        min_length=1,
        max_length=63,
        pattern=METRIC_PATTERN,
        description="Name of an evaluation metric, for example auc.",
    )
    operator: Literal[">=", "<="] = Field(description="How the metric is compared with the value.")
    value: Decimal = Field(description="The value, a decimal as a string.")


def _adaptive_only(field: str, attribute: str) -> Rule:
    return Rule(
        cel=f"!has(self.{field}) || self.strategy in ['FedAdam', 'FedYogi']",
        message=f"{field} belongs to strategies FedAdam and FedYogi: remove it or set strategy to one of them",
        holds=lambda a: getattr(a, attribute) is None or a.strategy in ("FedAdam", "FedYogi"),
        field=field,
    )


class Aggregation(ApiModel):
    """How updates become the next global model."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.proximalMu) || self.strategy == 'FedProx'",
            message="proximalMu belongs to strategy FedProx: remove it or set strategy to FedProx",
            holds=lambda a: a.proximal_mu is None or a.strategy == "FedProx",
            field="proximalMu",
        ),
        _adaptive_only("serverLearningRate", "server_learning_rate"),
        _adaptive_only("beta1", "beta1"),
        _adaptive_only("beta2", "beta2"),
        _adaptive_only("tau", "tau"),
        between("proximalMu", "proximal_mu", high="1000.0"),
        between("serverLearningRate", "server_learning_rate", low="0.0", high="1000.0", open_low=True),
        between("beta1", "beta1", high="1.0", open_high=True),
        between("beta2", "beta2", high="1.0", open_high=True),
        between("tau", "tau", low="0.0", high="1000.0", open_low=True),
    )

    strategy: StrategyName = Field(default="FedAvg", description="FedAvg, FedProx, FedAdam or FedYogi.")
    weights: Weights = Field(
        default="RecordCount", description="Weight of an update: its number of records, or equal for all."
    )
    proximal_mu: PositiveDecimal | None = Field(
        default=None, description="FedProx only: weight of the proximal term (Li et al. 2020); default 0.01."
    )
    server_learning_rate: PositiveDecimal | None = Field(
        default=None,
        description="FedAdam and FedYogi only: server learning rate (Reddi et al. 2021); default 0.1.",
    )
    beta1: PositiveDecimal | None = Field(
        default=None, description="FedAdam and FedYogi only: decay of the first moment; default 0.9."
    )
    beta2: PositiveDecimal | None = Field(
        default=None, description="FedAdam and FedYogi only: decay of the second moment; default 0.99."
    )
    tau: PositiveDecimal | None = Field(
        default=None, description="FedAdam and FedYogi only: degree of adaptivity; default 0.001."
    )
