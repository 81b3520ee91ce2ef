"""An owner's terms: what its policy, its dataset and its PrivacyBudget object to in what a job asks.

The one judgement of the operator (before the start, and while the job runs), of `hanse check` and of `hanse run`.
What a budget still holds is not judged here: that takes the ledger (`hanse.dp.book`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

from hanse.api.apps import BUILT_IN_APPS, COUNTS_FEATURES, COUNTS_SCORES, NEEDS_SCHEMA, RECORD_APPS
from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.conditions import Reason
from hanse.api.encryptionplan import needs_records
from hanse.api.encryptionterms import EncryptionAsk, data_objections, policy_objections
from hanse.api.job import FederatedJobSpec
from hanse.api.meta import clip_message
from hanse.api.objection import Objection as Objection
from hanse.api.participant import Dataset, DatasetSchema, ParticipantPolicy, ParticipantSpec
from hanse.api.participation import ParticipationPlan
from hanse.api.privacy import Adversary, Unit


@dataclass(frozen=True)
class PrivacyAsk:
    """What a job asks of a privacy budget. `epsilons` are against each adversary, empty while nobody has computed them.

    `columns`: features are scaled or counted, so their ranges must be known.
    """

    unit: Unit
    delta: float
    epsilons: Mapping[Adversary, float]
    columns: bool = False


@dataclass(frozen=True)
class Ask:
    """What a job asks of an owner, as far as its terms go. `weighed`: updates are weighed by their records."""

    image: str
    client_app: str
    weighed: bool
    quorum: int | None = None
    privacy: PrivacyAsk | None = None
    encryption: EncryptionAsk | None = None

    @classmethod
    def of_spec(cls, spec: FederatedJobSpec, epsilons: Mapping[Adversary, float] | None) -> "Ask":
        """Of a job; `epsilons` are its plan's (`hanse.dp`), None where they are not known."""
        wanted, app = spec.differential_privacy, spec.app.client_app
        privacy = encryption = None
        if wanted is not None:
            known = epsilons
            if known is None:
                known = dict.fromkeys(get_args(Adversary), float(wanted.epsilon)) if wanted.epsilon is not None else {}
            columns = app in NEEDS_SCHEMA or wanted.statistics is not None
            privacy = PrivacyAsk(wanted.unit, float(wanted.delta), known, columns)
        if spec.privacy is not None and spec.encryption is not None:
            encryption = EncryptionAsk(spec.privacy.model_release, needs_records(spec), app in NEEDS_SCHEMA)
        weighed = spec.aggregation.weights == "RecordCount"
        return cls(spec.app.image, app, weighed, spec.effective_quorum, privacy, encryption)

    @classmethod
    def of_plan(cls, plan: ParticipationPlan, epsilons: Mapping[Adversary, float] | None = None) -> "Ask":
        """Of a Participation; what was declared of the data is in its plan, and not asked again."""
        found = plan.privacy
        privacy = encryption = None
        if found is not None:
            privacy = PrivacyAsk(found.unit, float(found.delta), epsilons or {})
        if plan.encryption is not None:
            encryption = EncryptionAsk(plan.encryption.model_release)
        weighed = plan.aggregation.weights == "RecordCount"
        return cls(plan.image, plan.client_app, weighed, plan.quorum, privacy, encryption)


@dataclass(frozen=True)
class Budget:
    """The PrivacyBudget that a dataset's population names: `spec` is None where there is none that can be used."""

    spec: PrivacyBudgetSpec | None = None
    invalid: str = ""


def objections(ask: Ask, owner: str, found: ParticipantSpec, dataset: Dataset, budget: Budget) -> Iterator[Objection]:
    """What the terms of Participant `owner` (namespace/name) have against a job, before it starts."""
    where = f"dataset {dataset.name} of Participant {owner}"
    yield from _policy(ask, owner, where, found, dataset)
    if ask.encryption is not None:
        yield from data_objections(ask.encryption, where, dataset)
    if ask.privacy is None:
        return
    yield from _dataset(ask, ask.privacy, where, dataset)
    if dataset.population is not None:
        yield from _budget(ask.privacy, owner, dataset.population, budget)


def standing(
    plan: ParticipationPlan,
    owner: str,
    found: ParticipantSpec,
    dataset: Dataset,
    epsilons: Mapping[Adversary, float] | None = None,
) -> Iterator[Objection]:
    """What the owner has against a Participation that it took part in so far: it may change its mind at any time.

    `epsilons` are its privacy plan's, against each adversary (`hanse.dp.worst_epsilons`).
    What it declared of the data is in the plan and stays: later edits are for later jobs.
    """
    where = f"dataset {dataset.name} of Participant {owner}"
    yield from _policy(Ask.of_plan(plan, epsilons), owner, where, found, dataset)
    if plan.privacy is not None and plan.population != dataset.population:
        yield Objection(
            Reason.POPULATION_NOT_DECLARED,
            f"{where} does not belong to population {plan.population} any more, which this job is charged to",
            "delete the job and create it anew",
        )


def _policy(ask: Ask, owner: str, where: str, found: ParticipantSpec, dataset: Dataset) -> Iterator[Objection]:
    policy = found.policy
    if policy.images and not _matches(ask.image, policy.images):
        yield Objection(
            Reason.IMAGE_NOT_ALLOWED,
            f"Participant {owner} does not let image {ask.image} see its data (policy.images: {_some(policy.images)})",
            "use one of these, or its owner adds it",
        )
    if ask.privacy is not None:
        yield from _private(ask, ask.privacy, owner, policy)
    elif dataset.population is not None:
        yield Objection(
            Reason.PRIVACY_REQUIRED,
            f"{where} belongs to population {dataset.population}, whose privacy is counted",
            "set spec.privacy.differentialPrivacy",
        )
    yield from policy_objections(ask.encryption, ask.quorum, owner, found)


def _private(ask: Ask, wanted: PrivacyAsk, owner: str, policy: ParticipantPolicy) -> Iterator[Objection]:
    limit, charged = policy.max_epsilon_per_job, wanted.epsilons.get(policy.adversary)
    if limit is not None and charged is not None and charged > float(limit):
        best = wanted.epsilons.get("Outsiders", charged)
        other = f", {best:.4g} against Outsiders" if f"{best:.4g}" != f"{charged:.4g}" else ""
        yield Objection(
            Reason.EPSILON_TOO_LARGE,
            f"epsilon {charged:.4g} against {policy.adversary}{other}: more than Participant {owner} allows "
            f"(policy.maxEpsilonPerJob {limit})",
            "ask for less",
        )
    trusted = policy.record_apps or sorted(RECORD_APPS)
    if wanted.unit == "Record" and not _matches(ask.client_app, trusted):
        yield Objection(
            Reason.APP_NOT_ALLOWED,
            f"Participant {owner} does not trust app {ask.client_app} to clip each record, as unit Record needs "
            f"(policy.recordApps: {_some(trusted)})",
            "use one of these, unit Silo, or its owner adds it",
        )


def _dataset(ask: Ask, wanted: PrivacyAsk, where: str, dataset: Dataset) -> Iterator[Objection]:
    if dataset.population is None:
        yield Objection(
            Reason.POPULATION_NOT_DECLARED,
            f"{where} names no population, so nobody counts what jobs learn of it",
            "its owner sets population and makes a PrivacyBudget of that name",
        )
    if dataset.records is None and (wanted.unit == "Record" or ask.weighed):
        why = "unit Record" if wanted.unit == "Record" else "aggregation.weights RecordCount"
        other = "" if wanted.unit == "Record" else ", or set aggregation.weights to Equal"
        yield Objection(
            Reason.RECORDS_NOT_DECLARED,
            f"{where} does not declare its number of records, which {why} needs with privacy",
            f"its owner sets records{other}",
        )
    if dataset.records is not None and wanted.delta >= 1 / dataset.records:
        yield Objection(
            Reason.DELTA_TOO_LARGE,
            f"delta {wanted.delta:g} is not below 1/records of {where} ({dataset.records}): it would allow to publish "
            "one record",
            f"use a delta below {1 / dataset.records:.2g}",
        )
    if wanted.columns and dataset.schema_ is not None:
        yield from _ranges(where, dataset.schema_)
    elif wanted.columns:
        yield Objection(
            Reason.RANGES_NOT_DECLARED,
            f"{where} declares no schema, whose ranges are counted over",
            "its owner sets schema.features and schema.ranges",
        )


def _ranges(where: str, schema: DatasetSchema) -> Iterator[Objection]:
    """Columns are scaled by ranges that are public: the smallest and the largest value are somebody's."""
    missing = [name for name in schema.features if name not in schema.ranges]
    unknown = [name for name in schema.ranges if name not in schema.features]
    if not schema.features or missing:
        what = f"no range for {_some(missing)}" if missing else "no list of features"
        yield Objection(
            Reason.RANGES_NOT_DECLARED,
            f"{where} declares {what}: with privacy neither is taken from the data",
            "its owner sets schema.features and schema.ranges",
        )
    elif unknown:
        yield Objection(
            Reason.RANGES_NOT_DECLARED,
            f"{where} declares ranges for {_some(unknown)}, which are no features",
            "its owner corrects schema.ranges",
        )


def _budget(wanted: PrivacyAsk, owner: str, population: str, budget: Budget) -> Iterator[Objection]:
    name = f"PrivacyBudget {owner.split('/', maxsplit=1)[0]}/{population}"
    if budget.invalid:
        yield Objection(Reason.BUDGET_INVALID, f"{name} is not valid: {budget.invalid}", "its owner corrects it")
        return
    if budget.spec is None:
        yield Objection(
            Reason.BUDGET_NOT_FOUND,
            f"no {name}, which Participant {owner} names as its dataset's population",
            "its owner creates it",
        )
        return
    if budget.spec.unit == "Silo" and wanted.unit == "Record":
        yield Objection(
            Reason.UNIT_NOT_ALLOWED,
            f"{name} protects whole silos, unit Record hides less than that",
            "use unit Silo, or its owner makes a budget of unit Record",
        )
    if wanted.delta > float(budget.spec.delta):
        yield Objection(
            Reason.DELTA_TOO_LARGE,
            f"delta {wanted.delta:g} is larger than that of {name} ({budget.spec.delta})",
            f"use at most {budget.spec.delta}",
        )


def app_objections(spec: FederatedJobSpec) -> Iterator[Objection]:
    """What a built-in app would be paid for and does not give. Apps of one's own are taken at their word."""
    wanted, app = spec.differential_privacy, spec.app.client_app
    if wanted is None or app not in BUILT_IN_APPS:
        return
    for field, asked, able in (
        ("statistics", wanted.statistics, COUNTS_FEATURES),
        ("evaluation", wanted.evaluation, COUNTS_SCORES),
    ):
        if asked is not None and app not in able:
            yield Objection(
                Reason.INVALID_SPEC,
                f"app {app} gives no histograms for privacy.differentialPrivacy.{field}",
                "remove it",
            )


def compares_schemas(spec: FederatedJobSpec) -> bool:
    """Whether the columns that owners declare must be the same: gates make first models, or count, by them."""
    wanted, schema = spec.differential_privacy, spec.app.client_app in NEEDS_SCHEMA
    return (wanted is not None and wanted.statistics is not None) or (
        schema and (wanted is not None or spec.encryption is not None)
    )


def schema_objections(schemas: dict[str, DatasetSchema]) -> Iterator[Objection]:
    """With privacy the gates compare no columns: what all owners (by participant) declare must be the same.

    Histograms over other bins cannot be summed, and a model scaled in two ways is two models.
    """
    (first, one), *others = schemas.items() if schemas else [("", None)]
    for name, other in others:
        if one is None or other is None:
            continue
        for what, same in (
            ("label", one.label == other.label),
            ("features", one.features == other.features),
            ("ranges", one.ranges == other.ranges),
        ):
            if not same:
                yield Objection(
                    Reason.FEATURE_MISMATCH,
                    f"participants {first} and {name} declare different {what}",
                    "their owners agree on schema.label, schema.features (in order) and schema.ranges",
                )
                break


def _matches(text: str, globs: list[str]) -> bool:
    """`*` alone is a wildcard: `?` and `[` stand in image names and mean themselves."""
    return any(fnmatchcase(text, glob.replace("[", "[[]").replace("?", "[?]")) for glob in globs)


def _some(names: list[str]) -> str:
    return ", ".join(clip_message(name, 64) for name in names[:2]) + (", …" if len(names) > 2 else "")
