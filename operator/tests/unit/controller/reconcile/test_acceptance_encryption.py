"""Encrypted jobs against their owners' terms, and what is frozen at the start.

What the API server refuses already is in tests/integration/api/cases/privacy-encryption.yaml.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hanse.api.meta import MESSAGE_MAX
from hanse.api.planhash import canonical_hash
from hanse.controller.reconcile import acceptance_privacy, summary
from hanse.controller.reconcile.acceptance import Refusal, refusal
from hanse.controller.reconcile.asked import participation_plan
from hanse.controller.reconcile.model import ObservedJob
from hanse.dp import epsilon, plan_rdp
from tests.unit.controller.reconcile.test_acceptance_privacy import IMAGES, META, Asked

COUNTING = "hanse.runtime.apps.counting:app"


class Encrypted(Asked):
    """An encrypted job without noise, that all accept."""

    def __init__(self) -> None:
        super().__init__()
        self.job["privacy"] = {"encryption": {}}
        self.identities = {bank: f"pem of {bank}" for bank in self.owners}
        self.claims: dict[tuple[str, str], bool | None] = {}
        for each in self.owners.values():
            del each["datasets"][0]["population"]

    @property
    def privacy(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["privacy"]
        return found

    def observe(self) -> ObservedJob:
        seen = super().observe()
        lookups = {key: replace(lookup, identity=self.identities.get(key[0])) for key, lookup in seen.lookups.items()}
        return replace(seen, lookups=lookups, claims=self.claims)

    def refused(self) -> Refusal | None:
        return refusal(self.observe())


def distributed(asked: Encrypted, **terms: Any) -> None:
    asked.privacy["differentialPrivacy"] = {
        "unit": "Record",
        "mechanism": "Distributed",
        "epsilon": "3.0",
        "delta": "1e-5",
        "clip": "1",
        "sampleRate": "0.05",
    }
    for each in asked.owners.values():
        each["datasets"][0]["population"] = "borrowers"
    asked.policy(**terms)


def plain(asked: Encrypted) -> None:
    asked.job["privacy"] = {}


def requires(asked: Encrypted) -> None:
    plain(asked)
    asked.policy(requireEncryption=True)


def keeps(asked: Encrypted) -> None:
    asked.policy(modelRelease="Never")


def keeps_and_plain(asked: Encrypted) -> None:
    plain(asked)
    asked.policy(modelRelease="Participants")


def no_volume(asked: Encrypted) -> None:
    asked.privacy["modelRelease"] = "Participants"
    asked.owners["bank-a"]["models"] = {"claimName": "models"}


def no_claim(asked: Encrypted) -> None:
    no_volume(asked)
    asked.owners["bank-b"]["models"] = {"claimName": "models"}
    asked.claims["bank-b", "models"] = False


def no_identity(asked: Encrypted) -> None:
    del asked.identities["bank-b"]


def one_owner(asked: Encrypted) -> None:
    asked.identities["bank-b"] = asked.identities["bank-a"]


def no_records(asked: Encrypted) -> None:
    del asked.dataset()["records"]


def no_features(asked: Encrypted) -> None:
    asked.dataset()["schema"] = {"label": "default"}


def other_features(asked: Encrypted) -> None:
    asked.dataset()["schema"]["features"] = ["LIMIT", "AGE"]


def few(asked: Encrypted) -> None:
    asked.policy(minParticipants=3)


def few_and_plain(asked: Encrypted) -> None:
    plain(asked)
    few(asked)


def counts_one(asked: Encrypted) -> None:
    distributed(asked, maxEpsilonPerJob="3.5")


@pytest.mark.parametrize(
    ("spoil", "reason", "clause", "step"),
    [
        (requires, "EncryptionRequired", "policy.requireEncryption", "set spec.privacy.encryption"),
        (few, "TooFewParticipants", "policy.minParticipants", "raise spec.quorum"),
        (few_and_plain, "TooFewParticipants", "policy.minParticipants", "raise spec.quorum"),
        (keeps, "ModelReleaseNotAllowed", "policy.modelRelease", "set spec.privacy.modelRelease to Never"),
        (keeps_and_plain, "ModelReleaseNotAllowed", "gives it to the coordinator", "with encryption"),
        (no_volume, "ModelsNotDeclared", "bank-b/bank-b", "spec.models.claimName"),
        (no_claim, "VolumeNotReady", "'models'", "create it"),
        (no_identity, "IdentityNotReady", "status.identity", "hanse identity create"),
        (one_owner, "DuplicateParticipant", "bank-a and bank-b", "a namespace of its own"),
        (no_records, "RecordsNotDeclared", "bank-b/bank-b", "aggregation.weights to Equal"),
        (no_features, "RangesNotDeclared", "lists no features", "schema.features"),
        (other_features, "FeatureMismatch", "bank-a and bank-b", "schema.features (in order)"),
        (counts_one, "EpsilonTooLarge", "against ServerAndOne, ", "ask for less"),
    ],
)
def test_each_is_refused_with_the_clause_and_a_next_step(
    spoil: Callable[[Encrypted], None], reason: str, clause: str, step: str
) -> None:
    asked = Encrypted()
    assert asked.refused() is None
    spoil(asked)
    refused = asked.refused()
    assert refused is not None
    assert refused.reason == reason
    assert clause in refused.message
    assert step in refused.message
    assert len(refused.message) <= MESSAGE_MAX


def test_what_the_owner_fears_decides_the_epsilon_that_counts() -> None:
    """The same job: too much against a server with one key, little enough against outsiders."""
    asked = Encrypted()
    distributed(asked, maxEpsilonPerJob="3.5")
    refused = asked.refused()
    assert refused is not None
    assert " against Outsiders: more than" in refused.message
    asked.policy(adversary="Outsiders")
    assert asked.refused() is None


def test_what_is_frozen_at_the_start_is_what_owners_are_asked() -> None:
    asked = Encrypted()
    distributed(asked)
    asked.dataset("bank-b")["records"] = 4000
    observed = asked.observe()
    assert observed.spec is not None
    privacy = acceptance_privacy.job_privacy(observed, observed.spec, IMAGES)
    assert privacy is not None
    assert privacy.plan is not None
    assert (privacy.encryption, privacy.key_maker, privacy.model_release) == ("BFV", "bank-a", "Coordinator")
    assert (privacy.plan.quorum, privacy.plan.collusion_threshold) == (2, 0)
    assert epsilon(plan_rdp(privacy.plan, adversary="CollusionThreshold"), 1e-5) == pytest.approx(3.0, abs=1e-3)
    plan = privacy.encryption_plan
    assert plan is not None
    assert [(m.name, m.identity, m.scale, m.mass) for m in plan.roster] == [
        ("bank-a", "pem of bank-a", "1", "400"),
        ("bank-b", "pem of bank-b", "1", "200"),
    ]
    made = [
        participation_plan(META, observed.spec, member, index, IMAGES, privacy)
        for index, member in enumerate(observed.spec.participants)
    ]
    assert [each.encryption for each in made] == [plan, plan]
    assert made[1].quorum == 2
    moved = made[1].model_copy(update={"encryption": plan.model_copy(update={"key_maker": "bank-b"})})
    assert canonical_hash(moved.to_wire()) != canonical_hash(made[1].to_wire())
    assert summary.build(observed.spec, observed.status.model_copy(update={"privacy": privacy})).encryption == "BFV"


def test_without_noise_nothing_is_charged() -> None:
    asked = Encrypted()
    asked.job["app"]["clientApp"] = COUNTING
    observed = asked.observe()
    assert observed.spec is not None
    privacy = acceptance_privacy.job_privacy(observed, observed.spec, IMAGES)
    assert privacy is not None
    assert (privacy.plan, privacy.asked, privacy.epsilon, privacy.owners) == (None, None, [], {})
    made = participation_plan(META, observed.spec, observed.spec.participants[1], 1, IMAGES, privacy)
    assert (made.privacy, made.population, made.initial_seed) == (None, None, 0)
    assert summary.build(observed.spec, observed.status.model_copy(update={"privacy": privacy})).epsilon == "-"
