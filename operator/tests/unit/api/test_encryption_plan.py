"""One plan for all participants of an encrypted job: what is in it, and what its agreement depends on."""

from typing import Any

import pytest

from hanse.api.encryption import MOST_CLIENTS, SUM_STRATEGIES, EncryptionPlan, ModelRelease, least_quorum, may_release
from hanse.api.encryptionplan import encryption_plan
from hanse.api.job import FederatedJobSpec
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.runtime.he import facts_of

UID = "00000000-0000-4000-8000-000000000001"
BANKS = ("bank-a", "bank-b", "bank-c")
RECORDS = {"bank-a": 8000, "bank-b": 2000, "bank-c": 1}
PRIVATE = PrivacyPlan(
    unit="Record",
    adjacency="AddRemove",
    epsilon="3",
    delta="1e-5",
    clip="1",
    sample_rate="0.05",
    noise_multipliers=["1"],
)


def job(**change: Any) -> FederatedJobSpec:
    wanted = {
        "app": {"image": "trainer:1", "clientApp": "hanse.runtime.apps.counting:app"},
        "participants": [{"name": b, "participantRef": {"namespace": b, "name": b}, "dataset": "loans"} for b in BANKS],
        "rounds": 20,
        "privacy": {"encryption": {}},
    }
    return FederatedJobSpec.model_validate(wanted | change)


def plan_of(spec: FederatedJobSpec, privacy: PrivacyPlan | None = None, **records: int | None) -> EncryptionPlan:
    known: dict[str, int | None] = {**RECORDS, **{name.replace("_", "-"): n for name, n in records.items()}}
    found = encryption_plan(spec, {b: f"pem of {b}" for b in BANKS}, known, privacy, ("gate:1", "trainer:1"))
    assert found is not None
    return found


def weights(plan: EncryptionPlan) -> list[tuple[str, str]]:
    return [(member.scale, member.mass) for member in plan.roster]


def test_a_plan_by_records() -> None:
    plan = plan_of(job())
    assert (plan.scheme, plan.key_maker, plan.quorum, plan.range) == ("BFV", "bank-a", 3, "1")
    assert plan.names == list(BANKS)
    assert plan.member("bank-b").identity == "pem of bank-b"
    assert weights(plan) == [("1", "1"), ("0.25", "0.25"), ("1.25e-04", "1.25e-04")]
    with pytest.raises(KeyError):
        plan.member("bank-d")


def test_equal_weights_need_no_records() -> None:
    equal = job(aggregation={"weights": "Equal"})
    assert weights(plan_of(equal, bank_b=None)) == [("1", "1")] * 3
    with pytest.raises(ValueError, match="bank-b does not declare"):
        plan_of(job(), bank_b=None)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("RecordCount", [("1", "400"), ("1", "100"), ("1", "1")]),
        ("Equal", [("2.5e-03", "1"), ("1e-02", "1"), ("1", "1")]),
    ],
)
def test_a_sum_of_gradients_weighs_its_batch(aggregation: str, expected: list[tuple[str, str]]) -> None:
    noise = {"unit": "Record", "epsilon": "3", "delta": "1e-5", "clip": "1", "sampleRate": "0.05"}
    privacy = {"encryption": {}, "differentialPrivacy": noise}
    plan = plan_of(job(aggregation={"weights": aggregation}, privacy=privacy), PRIVATE)
    assert weights(plan) == expected
    assert plan.range is None


def test_votes_and_verifiers() -> None:
    plan = plan_of(job(privacy={"encryption": {}, "collusionThreshold": 1}))
    assert (plan.votes, plan.verifiers) == (3, 2)
    assert [least_quorum(n, 0) for n in (2, 3, 4, 10)] == [2, 2, 3, 6]
    assert least_quorum(3, 1) == 3


def test_nothing_is_planned_where_nothing_is_encrypted() -> None:
    for privacy in (None, {}, {"encryption": {"scheme": "None"}}):
        assert encryption_plan(job(privacy=privacy), {}, {}, None, (None, None)) is None


def test_the_agreement_is_of_one_job_and_one_plan() -> None:
    plan = plan_of(job())
    others = (
        plan.agreement("00000000-0000-4000-8000-000000000002"),
        plan.model_copy(update={"key_maker": "bank-b"}).agreement(UID),
        plan.model_copy(update={"roster": plan.roster[::-1]}).agreement(UID),
        plan_of(job(app={"image": "trainer:1", "clientApp": "other:app"})).agreement(UID),
    )
    assert len({plan.agreement(UID), *others}) == 5
    assert plan.agreement(UID) == EncryptionPlan.model_validate(plan.to_wire()).agreement(UID)


def client(**change: Any) -> ClientConfig:
    spec = job()
    plan = plan_of(spec, PRIVATE)
    config = ClientConfig(
        job=JobRef(namespace="consortium", name="credit", uid=UID),
        participant="bank-b",
        index=1,
        participants=3,
        server_address="x:1",
        client_app=spec.app.client_app,
        dataset=ClientDataset(name="loans", path="loans.csv"),
        privacy=PRIVATE.for_owner(2000, "Outsiders"),
        encryption=plan,
        smallest_batch=1,
        gate_image="gate:1",
        trainer_image="trainer:1",
        initial_seed=0,
    )
    return config.model_copy(update=change)


def test_each_gate_computes_the_terms_from_what_it_acts_on() -> None:
    """Its own adversary and batch are no part of them: they differ from owner to owner."""
    config = client()
    assert config.encryption is not None
    assert config.common_terms() == config.encryption.terms
    for change in (
        {"privacy": PRIVATE.model_copy(update={"clip": "2"})},
        {"config": {"lr": "1"}},
        {"initial_seed": 1},
        {"trainer_image": "trainer:2"},
        {"smallest_batch": 2},
    ):
        assert client(**change).common_terms() != config.encryption.terms, change


def test_check_json_holds_what_the_first_model_needs() -> None:
    made = client(privacy=None).check().initial
    assert made is not None
    assert (made.privacy, made.encryption) == (None, client().encryption)


def test_releases_allow_what_stands_before_them() -> None:
    order: tuple[ModelRelease, ...] = ("Never", "Participants", "Coordinator")
    assert [[may_release(asked, most) for asked in order] for most in order] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_strategy_is_refused_unless_it_says_that_sums_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today every strategy does; one that is added and says nothing is refused by the rule that reads this table."""
    from hanse.api import encryptionrules

    assert set(SUM_STRATEGIES) == {"FedAvg", "FedProx", "FedAdam", "FedYogi"}
    monkeypatch.setattr(encryptionrules, "SUM_STRATEGIES", ("FedAvg",))
    with pytest.raises(ValueError, match="needs plain updates"):
        job(aggregation={"strategy": "FedAdam"})


def test_more_clients_than_an_engine_adds() -> None:
    many = [{"name": f"b{i}", "participantRef": {"namespace": "n", "name": f"b{i}"}, "dataset": "d"} for i in range(65)]
    ckks = {"encryption": {"scheme": "CKKS"}}
    assert job(participants=many[:64], privacy=ckks).encryption is not None
    with pytest.raises(ValueError, match="CKKS adds up at most 64"):
        job(participants=many, privacy=ckks)
    assert MOST_CLIENTS["BFV"] == 1024  # as many as the API takes


def test_the_bounds_are_those_of_the_engines() -> None:
    assert {scheme: facts_of(scheme).most_clients for scheme in MOST_CLIENTS} == MOST_CLIENTS
