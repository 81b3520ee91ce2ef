"""Private jobs against the terms of their owners: each that makes no sense is refused with the clause and a next step.

What the API server refuses already is in tests/integration/api/cases/privacy.yaml.
"""

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.job import FederatedJobSpec, FederatedJobStatus, FrozenImages
from hanse.api.meta import MESSAGE_MAX
from hanse.api.participant import ParticipantSpec
from hanse.api.privacy import Adversary
from hanse.controller.reconcile import acceptance_privacy, summary
from hanse.controller.reconcile.acceptance import Refusal, refusal
from hanse.controller.reconcile.asked import participation_plan
from hanse.controller.reconcile.model import BudgetLookup, Defaults, Lookup, ObservedJob
from hanse.controller.views import Meta
from hanse.dp import epsilon, plan_rdp, resolve
from tests.unit.controller import world

TABULAR = "hanse.runtime.apps.tabular:app"
META = Meta("FederatedJob", "consortium", "credit", "00000000-0000-4000-8000-000000000001", 1, "1")
DEFAULTS = Defaults("hanse-system", "server:1", "gate:1", allow_image_tags=False, progress_base="https://x")
IMAGES = FrozenImages(server="s", gate="g", trainer=world.IMAGE)
RANGES = {"AGE": {"low": "18", "high": "100"}, "LIMIT": {"low": "0", "high": "1e6"}}
BUDGET = {"unit": "Record", "epsilon": "8", "delta": "1e-5"}


class Asked:
    """A job that all accept, to be spoilt: its spec and what its owners say, as in manifests."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = {
            "app": {"image": world.IMAGE, "clientApp": TABULAR},
            "participants": [
                {"name": bank, "participantRef": {"namespace": bank, "name": bank}, "dataset": "loans"}
                for bank in ("bank-a", "bank-b")
            ],
            "rounds": 20,
            "privacy": {
                "differentialPrivacy": {
                    "unit": "Record",
                    "epsilon": "3.0",
                    "delta": "1e-5",
                    "clip": "1",
                    "sampleRate": "0.05",
                }
            },
        }
        self.owners = {bank: copy.deepcopy(owner(bank)) for bank in ("bank-a", "bank-b")}
        self.budgets: dict[tuple[str, str], dict[str, Any] | None] = {
            (bank, "borrowers"): dict(BUDGET) for bank in self.owners
        }

    @property
    def dp(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["privacy"]["differentialPrivacy"]
        return found

    def dataset(self, bank: str = "bank-b") -> dict[str, Any]:
        found: dict[str, Any] = self.owners[bank]["datasets"][0]
        return found

    def policy(self, **terms: Any) -> None:
        self.owners["bank-b"]["policy"].update(terms)

    def observe(self) -> ObservedJob:
        return ObservedJob(
            META,
            DEFAULTS,
            FederatedJobSpec.model_validate(self.job),
            FederatedJobStatus(),
            lookups={(b, b): Lookup(ParticipantSpec.model_validate(o)) for b, o in self.owners.items()},
            budgets={
                key: BudgetLookup(META, PrivacyBudgetSpec.model_validate(spec)) if spec is not None else BudgetLookup()
                for key, spec in self.budgets.items()
            },
        )

    def refused(self) -> Refusal | None:
        return refusal(self.observe())


def owner(bank: str) -> dict[str, Any]:
    return {
        "organisation": bank,
        "datasets": [
            {
                "name": "loans",
                "source": {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"},
                "schema": {"label": "default", "features": ["AGE", "LIMIT"], "ranges": RANGES},
                "population": "borrowers",
                "records": 8000,
            }
        ],
        "policy": {"namespaces": ["consortium"]},
    }


def silo(asked: Asked) -> None:
    asked.dp.pop("sampleRate")
    asked.dp["unit"] = "Silo"


def no_population(asked: Asked) -> None:
    del asked.dataset()["population"]


def no_budget(asked: Asked) -> None:
    asked.budgets[("bank-b", "borrowers")] = None


def budget_never_seen(asked: Asked) -> None:
    del asked.budgets[("bank-b", "borrowers")]


def another_population(asked: Asked) -> None:
    asked.dataset()["population"] = "savers"


def without_privacy(asked: Asked) -> None:
    del asked.job["privacy"]


def budget_of_silos(asked: Asked) -> None:
    asked.budgets[("bank-b", "borrowers")] = {**BUDGET, "unit": "Silo"}


def larger_delta(asked: Asked) -> None:
    asked.budgets[("bank-b", "borrowers")] = {**BUDGET, "delta": "1e-6"}


def delta_of_one_record(asked: Asked) -> None:
    asked.dataset()["records"] = 100_000


def delta_of_one_record_for_silos(asked: Asked) -> None:
    silo(asked)
    delta_of_one_record(asked)


def uncounted_records(asked: Asked) -> None:
    del asked.dataset()["records"]


def uncounted_records_that_weigh(asked: Asked) -> None:
    silo(asked)
    uncounted_records(asked)


def epsilon_over_policy(asked: Asked) -> None:
    asked.policy(maxEpsilonPerJob="2.9")


def noise_over_policy(asked: Asked) -> None:
    asked.policy(maxEpsilonPerJob="2.9")
    del asked.dp["epsilon"]
    asked.dp["noiseMultiplier"] = "0.5"


def image(asked: Asked) -> None:
    asked.policy(images=["hanse/trainer-cpu@sha256:*"])


def image_without_privacy(asked: Asked) -> None:
    without_privacy(asked)
    for bank in asked.owners:
        del asked.dataset(bank)["population"]
    image(asked)


def own_app(asked: Asked) -> None:
    asked.job["app"]["clientApp"] = "my_pkg.client:app"


def own_app_that_another_owner_trusts(asked: Asked) -> None:
    own_app(asked)
    asked.owners["bank-a"]["policy"]["recordApps"] = ["my_pkg.*"]


def counting_app(asked: Asked) -> None:
    asked.job["app"]["clientApp"] = "hanse.runtime.apps.counting:app"


def no_ranges(asked: Asked) -> None:
    del asked.dataset()["schema"]["ranges"]["AGE"]


def no_features(asked: Asked) -> None:
    asked.dataset()["schema"].update(features=[], ranges={})


def range_of_no_feature(asked: Asked) -> None:
    asked.dataset()["schema"]["ranges"]["SEX"] = {"low": "0", "high": "1"}


def other_ranges(asked: Asked) -> None:
    asked.dataset()["schema"]["ranges"]["AGE"] = {"low": "0", "high": "100"}


def other_order(asked: Asked) -> None:
    asked.dataset()["schema"]["features"] = ["LIMIT", "AGE"]


def histograms_of_images(asked: Asked) -> None:
    asked.job["app"]["clientApp"] = "hanse.runtime.apps.vision:app"
    asked.dp["evaluation"] = {"epsilonShare": "0.1"}


def statistics_of_nothing(asked: Asked) -> None:
    asked.job["app"]["clientApp"] = "hanse.runtime.apps.counting:app"
    asked.dp["statistics"] = {"epsilonShare": "0.1"}


def statistics_without_columns(asked: Asked) -> None:
    trusted_app(asked)
    asked.dp["statistics"] = {"epsilonShare": "0.1"}
    del asked.dataset()["schema"]


def unreachable(asked: Asked) -> None:
    asked.dp["epsilon"] = "1e-5"


CASES: list[tuple[Callable[[Asked], None], str, str, str]] = [
    (no_population, "PopulationNotDeclared", "dataset loans of Participant bank-b/bank-b", "makes a PrivacyBudget"),
    (no_budget, "BudgetNotFound", "PrivacyBudget bank-b/borrowers", "creates it"),
    (budget_never_seen, "BudgetNotFound", "PrivacyBudget bank-b/borrowers", "creates it"),
    (another_population, "BudgetNotFound", "PrivacyBudget bank-b/savers", "creates it"),
    (without_privacy, "PrivacyRequired", "population borrowers", "set spec.privacy.differentialPrivacy"),
    (budget_of_silos, "UnitNotAllowed", "hides less", "use unit Silo"),
    (larger_delta, "DeltaTooLarge", "PrivacyBudget bank-b/borrowers (1e-6)", "use at most 1e-6"),
    (delta_of_one_record, "DeltaTooLarge", "1/records", "below 1e-05"),
    (delta_of_one_record_for_silos, "DeltaTooLarge", "(100000)", "below 1e-05"),
    (uncounted_records, "RecordsNotDeclared", "unit Record", "its owner sets records"),
    (uncounted_records_that_weigh, "RecordsNotDeclared", "aggregation.weights RecordCount", "weights to Equal"),
    (epsilon_over_policy, "EpsilonTooLarge", "policy.maxEpsilonPerJob 2.9", "ask for less"),
    (noise_over_policy, "EpsilonTooLarge", "policy.maxEpsilonPerJob 2.9", "ask for less"),
    (image, "ImageNotAllowed", "policy.images: hanse/trainer-cpu@sha256:*", "its owner adds it"),
    (image_without_privacy, "ImageNotAllowed", "policy.images", "its owner adds it"),
    (own_app, "AppNotAllowed", "my_pkg.client:app", "unit Silo"),
    (own_app_that_another_owner_trusts, "AppNotAllowed", "bank-b/bank-b", "its owner adds it"),
    (counting_app, "AppNotAllowed", "policy.recordApps", "use one of these"),
    (no_ranges, "RangesNotDeclared", "no range for AGE", "schema.ranges"),
    (no_features, "RangesNotDeclared", "no list of features", "schema.features"),
    (range_of_no_feature, "RangesNotDeclared", "SEX, which are no features", "corrects schema.ranges"),
    (other_ranges, "FeatureMismatch", "bank-a and bank-b declare different ranges", "agree"),
    (other_order, "FeatureMismatch", "different features", "in order"),
    (histograms_of_images, "InvalidSpec", "no histograms for privacy.differentialPrivacy.evaluation", "remove it"),
    (statistics_of_nothing, "InvalidSpec", "privacy.differentialPrivacy.statistics", "remove it"),
    (statistics_without_columns, "RangesNotDeclared", "declares no schema", "schema.ranges"),
    (unreachable, "InvalidSpec", "privacy.differentialPrivacy", "epsilon"),
]


@pytest.mark.parametrize(("spoil", "reason", "clause", "next_step"), CASES, ids=[spoil.__name__ for spoil, *_ in CASES])
def test_refused(spoil: Callable[[Asked], None], reason: str, clause: str, next_step: str) -> None:
    asked = Asked()
    spoil(asked)
    refused = asked.refused()
    assert refused is not None
    assert (refused.reason, clause in refused.message, next_step in refused.message) == (reason, True, True), refused
    assert len(refused.message) <= MESSAGE_MAX  # a longer one would lose its next step


def trusted_app(asked: Asked) -> None:
    own_app(asked)
    for terms in asked.owners.values():
        terms["policy"]["recordApps"] = ["my_pkg.*"]


def silos_against_a_budget_of_records(asked: Asked) -> None:
    silo(asked)


def silos_of_equal_weight_without_records(asked: Asked) -> None:
    uncounted_records_that_weigh(asked)
    asked.job["aggregation"] = {"weights": "Equal"}


def as_much_as_the_policy_allows(asked: Asked) -> None:
    asked.policy(maxEpsilonPerJob="3.0", images=["hanse/trainer@sha256:*"])


def another_app_has_no_columns(asked: Asked) -> None:
    silo(asked)
    own_app(asked)
    del asked.dataset()["schema"]


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        trusted_app,
        silos_against_a_budget_of_records,
        silos_of_equal_weight_without_records,
        as_much_as_the_policy_allows,
        another_app_has_no_columns,
    ],
)
def test_accepted(change: Callable[[Asked], None]) -> None:
    asked = Asked()
    change(asked)
    assert asked.refused() is None


def test_a_long_refusal_keeps_its_next_step() -> None:
    asked = Asked()
    asked.job["app"]["image"] = f"{'registry/' * 20}trainer@{world.DIGEST}"
    asked.policy(images=["x" * 300, "y" * 300])
    refused = asked.refused()
    assert refused is not None
    assert len(refused.message) <= MESSAGE_MAX
    assert refused.message.endswith("…: use one of these, or its owner adds it")


def test_a_closed_namespace_is_named() -> None:
    asked = Asked()
    observed = asked.observe()
    budgets = {**observed.budgets, ("bank-b", "borrowers"): BudgetLookup(denied=True)}
    closed = ObservedJob(META, DEFAULTS, observed.spec, observed.status, lookups=observed.lookups, budgets=budgets)
    refused = refusal(closed)
    assert refused is not None
    assert (refused.reason, "hanse owner-rbac bank-b" in refused.message) == ("PermissionDenied", True)


def test_what_is_frozen_at_the_start_is_what_owners_are_asked() -> None:
    asked = Asked()
    asked.dataset()["records"] = 7990
    asked.policy(adversary="Outsiders")
    observed = asked.observe()
    assert observed.spec is not None
    privacy = acceptance_privacy.job_privacy(observed, observed.spec, IMAGES)
    assert privacy is not None
    assert {each.adversary for each in privacy.epsilon} == set(get_args(Adversary))
    wanted = observed.spec.differential_privacy
    assert wanted is not None
    assert privacy.plan is not None
    assert privacy.plan_of("bank-b") == resolve(wanted, 20, 7990, "Outsiders")
    assert epsilon(plan_rdp(privacy.plan), 1e-5) == pytest.approx(3.0, abs=1e-3)
    made = participation_plan(META, observed.spec, observed.spec.participants[1], 1, IMAGES, privacy)
    assert (made.population, made.records, made.initial_seed) == ("borrowers", 7990, 0)
    assert made.privacy is not None
    assert made.privacy == privacy.plan_of("bank-b")
    assert made.privacy.expected_batch == made.smallest_batch == 400  # 399.5 of 7,990, rounded up
    status = FederatedJobStatus(privacy=privacy)
    assert summary.build(observed.spec, status).epsilon == "0.0/3.0"


def test_without_privacy_nothing_is_frozen() -> None:
    asked = Asked()
    without_privacy(asked)
    observed = asked.observe()
    assert observed.spec is not None
    assert acceptance_privacy.job_privacy(observed, observed.spec, IMAGES) is None
    assert summary.build(observed.spec, FederatedJobStatus()).epsilon == "-"
