"""The client pod of a private job: who has the first model, the data and no key."""

from typing import Any

from hanse.api.participant import ClaimSource, Dataset, DatasetSource, ModelsVolume, ParticipantSpec
from hanse.api.participation import JobRef, LocalParticipantRef, ParticipationPlan, ParticipationSpec
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.controller.manifests.client import build_client_job
from hanse.controller.views import Meta

PATHS = Paths()
IMAGE = "hanse/trainer-cpu@sha256:" + "0" * 64
PLAN = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["5"])
DATASET = Dataset(
    name="loans", source=DatasetSource(persistent_volume_claim=ClaimSource(claim_name="loans"), path="loans.csv")
)
OWNER = ParticipantSpec(organisation="Bank A", datasets=[DATASET], models=ModelsVolume(claim_name="models"))


def pod(privacy: PrivacyPlan | None) -> dict[str, Any]:
    plan = ParticipationPlan(
        participant="bank-a",
        index=0,
        participants=1,
        dataset="loans",
        image=IMAGE,
        gate_image=IMAGE,
        client_app="hanse.runtime.apps.counting:app",
        rounds=1,
        server_address="server:9443",
        ca_certificate="",
        privacy=privacy,
    )
    spec = ParticipationSpec(
        job_ref=JobRef(namespace="consortium", name="credit", uid="11111111-2222-3333-4444-555555555555"),
        participant_ref=LocalParticipantRef(name="bank-a"),
        plan=plan,
        plan_hash="sha256:0",
    )
    meta = Meta("Participation", "bank-a", "credit-bank-a", "11111111-2222-3333-4444-555555555556")
    made: dict[str, Any] = build_client_job(meta, spec, DATASET, OWNER)["spec"]["template"]["spec"]
    return made


def mounts(spec: dict[str, Any], name: str) -> dict[str, Any]:
    found = next(c for c in [*spec["initContainers"], *spec["containers"]] if c["name"] == name)
    return {m["mountPath"]: m for m in found["volumeMounts"]}


def test_the_first_model_is_made_without_data_and_read_by_the_gate_alone() -> None:
    spec = pod(PLAN)
    check, gate, trainer = (mounts(spec, name) for name in ("app-check", "gate", "trainer"))
    assert not check[str(PATHS.initial)].get("readOnly")
    assert gate[str(PATHS.initial)]["readOnly"] is True
    assert str(PATHS.initial) not in trainer
    assert str(PATHS.data) not in check


def test_the_trainer_has_no_key_and_no_file_of_the_gates() -> None:
    trainer = mounts(pod(PLAN), "trainer")
    for path in (PATHS.tls, PATHS.state, PATHS.ledger_access, PATHS.identity_key.parent, PATHS.initial):
        assert str(path) not in trainer


def test_a_job_without_privacy_has_none_of_it() -> None:
    spec = pod(None)
    assert str(PATHS.initial) not in mounts(spec, "gate")
    assert str(PATHS.data) not in mounts(spec, "gate")
    assert "initial" not in {volume["name"] for volume in spec["volumes"]}
