"""The PrivacyBudget: what jobs may learn about one population, in all and for ever. One for each population.

The data owner writes the spec. The operator reserves and folds, the owner's gates write releases before they leave:
all with conditional writes (resourceVersion). The API server's rules keep the status append-only.
"""

from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hanse.api.conditions import Condition
from hanse.api.meta import MAP_BY_TYPE, ApiModel, ObjectName, PositiveDecimal, ShortName, Uid
from hanse.api.participation import JobRef
from hanse.api.privacy import MAX_DELTA, MAX_EPSILON, PrivacyPlan, SlotKey, Unit
from hanse.api.rules import Rule, between, transition

#: Orders of the RDP vectors in every ledger (facts: enough for epsilon 0.1 to 20 within 2 %).
RDP_ORDERS: Final = (*(float(order) for order in range(2, 65)), 128.0, 256.0)
MAX_ACCOUNTS: Final = 32
MAX_RELEASES: Final = 4096
MAX_DIGESTS: Final = 1024

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
#: Ed25519 signature, base64.
Signature = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$", max_length=88)]
RdpVector = Annotated[list[PositiveDecimal], Field(min_length=len(RDP_ORDERS), max_length=len(RDP_ORDERS))]

_CONTEXT: Final = Context(prec=12, rounding=ROUND_CEILING)


def decimal_up(value: float) -> str:
    """`value` (finite, at least 0) with 12 digits as a PositiveDecimal, never less than it is: losses round up."""
    if not 0 <= value < 1e12:
        raise ValueError(f"{value} is not a privacy loss")
    if value < 1e-80:
        return "0" if value == 0 else "1e-80"
    mantissa, exponent = f"{_CONTEXT.create_decimal(Decimal(value)):e}".split("e")
    return f"{mantissa}e{int(exponent)}"


class Loss(ApiModel):
    """A privacy loss: what counts is the vector; epsilon is for people."""

    rdp: RdpVector = Field(description="RDP at the orders 2, 3, .. 64, 128, 256.")
    epsilon: PositiveDecimal = Field(description="The same as epsilon at the budget's delta.")


class Release(ApiModel):
    """What left, or may have left: written before it does. Its slot is its key."""

    digest: Digest = Field(description="sha256 of the bytes that leave; a resend is these bytes.")
    at: datetime = Field(description="When it was written.")


class Closed(ApiModel):
    """The end of an account: nothing leaves under it any more."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.signature) == (self.cause == 'Signed')",
            message="signature belongs to cause Signed, which needs it",
            holds=lambda c: (c.signature is not None) == (c.cause == "Signed"),
            field="signature",
        ),
    )

    cause: Literal["Signed", "LeaseOver"] = Field(
        description="Signed: the gate closed it, and unused attempts are returned. LeaseOver: no gate did."
    )
    at: datetime = Field(description="When.")
    signature: Signature | None = Field(
        default=None, description="Ed25519 by the owner's identity key, over the account's canonical JSON."
    )


def _kept(field: str, grows: str, message: str) -> Rule:
    """Once there, `field` stays, and `grows` (CEL) holds."""
    return transition(field, f"!has(oldSelf.{field}) || (has(self.{field}) && {grows})", message)


def _unchanged(field: str) -> Rule:
    return transition(field, f"self.{field} == oldSelf.{field}", f"{field} of an account cannot be changed")


class Account(ApiModel):
    """One participation's part in a budget: its plan is its reservation. Its key is `names.account_id`."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        _unchanged("job"),
        _unchanged("participation"),
        _unchanged("planHash"),
        _unchanged("plan"),
        transition("epoch", "self.epoch >= oldSelf.epoch", "epoch of an account never lowers: an older gate is fenced"),
        _kept(
            "releases",
            "oldSelf.releases.all(k, k in self.releases && self.releases[k].digest == oldSelf.releases[k].digest)",
            "releases of an account only grow: what left stays written",
        ),
        transition("closed", "!has(oldSelf.closed) || self == oldSelf", "a closed account cannot be changed"),
    )

    job: JobRef = Field(description="The job that releases.")
    participation: ObjectName = Field(description="Name of the Participation, in this namespace.")
    plan_hash: str = Field(max_length=80, description="Hash of the plan that the gate must have.")
    plan: PrivacyPlan = Field(description="What may be released.")
    epoch: int = Field(default=0, ge=0, le=2**31 - 1, description="Which gate may release: the newest that opened it.")
    lease_until: datetime = Field(description="Until when; the operator renews it while the job lives.")
    releases: dict[SlotKey, Release] = Field(
        default_factory=dict,
        max_length=MAX_RELEASES,
        description="Releases by slot: kind, round and attempt, for example Train-12-1.",
    )
    closed: Closed | None = Field(default=None, description="Its end.")


class DatasetSeen(ApiModel):
    """Data that was used under this budget. Its key is the digest."""

    dataset: ShortName = Field(description="Name of the dataset of the owner's Participant.")
    at: datetime = Field(description="When it was first used.")
    population: ShortName | None = Field(
        default=None, description="Set where it counts against another PrivacyBudget, be it deleted: refused here."
    )


class PrivacyBudgetSpec(ApiModel):
    """How much jobs may learn about the population."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        between("epsilon", "epsilon", low="0.0", high=MAX_EPSILON, open_low=True),
        between("delta", "delta", low="0.0", high=MAX_DELTA, open_low=True),
        transition("unit", "self.unit == oldSelf.unit", "unit cannot be changed: what was spent was counted in it"),
        transition("delta", "self.delta == oldSelf.delta", "delta cannot be changed: what was spent was counted at it"),
    )

    unit: Unit = Field(
        description="Record: charges jobs of unit Record, and those of unit Silo in full. Silo: jobs of unit Silo only."
    )
    epsilon: PositiveDecimal = Field(description="All that may be spent, for ever. May be raised or lowered.")
    delta: PositiveDecimal = Field(description="At which losses are converted; no job may ask for a larger one.")


#: Order by order: no entry of the new vector is below the old one's.
_ORDER_INDEXES: Final = f"[{','.join(str(i) for i in range(len(RDP_ORDERS)))}]"
_SPENT_GROWS: Final = f"{_ORDER_INDEXES}.all(i, double(self.spent.rdp[i]) >= double(oldSelf.spent.rdp[i]))"
_FOLDED_GROWS: Final = f"{_ORDER_INDEXES}.all(i, double(self.folded[i]) >= double(oldSelf.folded[i]))"
_ACCOUNTS_STAY: Final = (
    "!has(oldSelf.accounts) || oldSelf.accounts.all(k, (has(self.accounts) && k in self.accounts) || "
    "(has(oldSelf.accounts[k].closed) && has(self.pages) && self.pages > (has(oldSelf.pages) ? oldSelf.pages : 0)))"
)


class PrivacyBudgetStatus(ApiModel):
    """The ledger. Written by the operator and by the owner's gates; it only grows."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        _kept("spent", _SPENT_GROWS, "spent never lowers: what was learnt stays known"),
        _kept("folded", _FOLDED_GROWS, "folded never lowers: what was learnt stays known"),
        _kept("entries", "self.entries >= oldSelf.entries", "entries never lowers: the ledger only grows"),
        _kept("pages", "self.pages >= oldSelf.pages", "pages never lowers: the ledger only grows"),
        _kept(
            "datasets",
            "oldSelf.datasets.all(k, k in self.datasets)",
            "datasets only grow: data that was used stays known",
        ),
        transition("accounts", _ACCOUNTS_STAY, "accounts leave only when they are closed and written to a page"),
    )

    observed_generation: int | None = Field(default=None, ge=0, description="Generation that this status is about.")
    folded: RdpVector | None = Field(default=None, description="RDP of all accounts that have left for the pages.")
    spent: Loss | None = Field(default=None, description="All that was ever released: folded, and by open accounts.")
    reserved: Loss | None = Field(default=None, description="What open accounts may still release, at the worst.")
    left: PositiveDecimal | None = Field(
        default=None,
        description="The largest epsilon of a single release that still fits; losses compose, they do not add up.",
    )
    entries: int = Field(default=0, ge=0, description="Releases ever written.")
    pages: int = Field(default=0, ge=0, description="Pages of the ledger: one for each folded account.")
    chain_head: Digest | None = Field(default=None, description="Hash of the newest page, which holds the one before.")
    accounts: dict[Uid, Account] = Field(
        default_factory=dict,
        max_length=MAX_ACCOUNTS,
        description="Open accounts, by an id made from job uid and participant.",
    )
    datasets: dict[Digest, DatasetSeen] = Field(
        default_factory=dict, max_length=MAX_DIGESTS, description="Data that was used, by its digest."
    )
    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, description="The truth, in conditions.", json_schema_extra=MAP_BY_TYPE
    )
