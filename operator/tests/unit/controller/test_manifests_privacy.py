"""The client pod of a private job: who has the first model, the data and no key."""

from typing import Any

from hanse.api.encryption import EncryptionPlan, ModelRelease, RosterMember
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


def pod(privacy: PrivacyPlan | None, encryption: EncryptionPlan | None = None) -> dict[str, Any]:
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
        encryption=encryption,
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


def encryption(release: ModelRelease = "Coordinator") -> EncryptionPlan:
    members = [RosterMember(name=name, identity="pem", scale="1", mass="1") for name in ("bank-a", "bank-b")]
    terms = "sha256:" + "0" * 64
    return EncryptionPlan(
        scheme="BFV", key_maker="bank-a", quorum=2, rounds=1, model_release=release, terms=terms, roster=members
    )


def test_an_encrypted_job_gives_the_gate_alone_the_owners_key() -> None:
    """Without noise nothing is charged: neither the data nor the owner's ledger is the gate's business."""
    spec = pod(None, encryption())
    check, gate, trainer = (mounts(spec, name) for name in ("app-check", "gate", "trainer"))
    assert gate[str(PATHS.identity_key.parent)]["readOnly"] is True
    assert gate[str(PATHS.initial)]["readOnly"] is True
    assert not check[str(PATHS.initial)].get("readOnly")
    for path in (PATHS.identity_key.parent, PATHS.initial, PATHS.state, PATHS.models):
        assert str(path) not in trainer
    assert str(PATHS.identity_key.parent) not in check
    for path in (PATHS.data, PATHS.ledger_access, PATHS.models):
        assert str(path) not in gate
    assert "serviceAccountName" not in spec


def test_models_are_written_by_the_gate_into_the_owners_claim() -> None:
    spec = pod(PLAN, encryption("Participants"))
    everywhere = {c["name"]: mounts(spec, c["name"]) for c in [*spec["initContainers"], *spec["containers"]]}
    assert [name for name, found in everywhere.items() if str(PATHS.models) in found] == ["gate"]
    assert not everywhere["gate"][str(PATHS.models)].get("readOnly")
    claim = next(v for v in spec["volumes"] if v["name"] == "models")
    assert claim["persistentVolumeClaim"] == {"claimName": "models"}


def test_no_key_of_a_job_is_in_environment_or_volume() -> None:
    """The owner's identity is the one private thing that is mounted: the job's key never leaves the gates."""
    spec = pod(PLAN, encryption())
    secrets = [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v]
    assert sorted(secrets) == ["credit-bank-a", "hanse-identity"]
    for container in [*spec["initContainers"], *spec["containers"]]:
        names = {each["name"] for each in container["env"]}
        assert names <= {"POD_NAME", "PYTHONSAFEPATH", "PYTHONNOUSERSITE"}
        assert all("valueFrom" not in e or "fieldRef" in e["valueFrom"] for e in container["env"])
        assert "envFrom" not in container


def test_an_encrypted_gates_directory_holds_large_models() -> None:
    """Over the limit a pod is evicted, and its copy of the job's key with it: ResNet-50 with FedAdam takes 2 GiB."""
    sizes = [
        next(v["emptyDir"]["sizeLimit"] for v in pod(None, plan)["volumes"] if v["name"] == "journal")
        for plan in (None, encryption())
    ]
    assert sizes == ["2Gi", "8Gi"]
