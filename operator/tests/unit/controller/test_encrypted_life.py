"""An encrypted job through the engine: identities come first, one plan for all, who holds the key, and how it ends."""

import base64
import json
from itertools import count
from typing import Any

import pytest

from hanse.api import names
from hanse.api.job import JobPrivacy
from hanse.api.progress import EncryptionProgress, ParticipantProgress, Progress
from hanse.api.runconfig import ClientConfig, RunConfig
from hanse.controller import kinds
from hanse.dp.worst import worst_epsilons
from hanse.pki.identity import new_identity
from tests.unit.controller import owners, world
from tests.unit.controller.owners import PrivateRig
from tests.unit.controller.rig import Rig

BANKS = ("bank-a", "bank-b", "bank-c")
SEQUENCE = count(1)
FINGERPRINT = "sha256:" + "f" * 64
ENCRYPTED = {"privacy": {"encryption": {}}, "aggregation": {"weights": "Equal"}}


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.start(*BANKS, **ENCRYPTED)
    return rig


def data(rig: Rig, namespace: str, name: str, file: str) -> dict[str, Any]:
    found = rig.door.find(kinds.CONFIG_MAP, namespace, name)
    assert found is not None
    made: dict[str, Any] = json.loads(found["data"][file])
    return made


def client_config(rig: Rig, bank: str) -> ClientConfig:
    job = rig.client_job(bank)
    assert job is not None
    return ClientConfig.model_validate(data(rig, bank, job["metadata"]["name"], "client.json"))


def identity_of(rig: Rig, bank: str) -> str:
    found = rig.door.find(kinds.PARTICIPANT, bank, bank)
    assert found is not None
    return str(found["status"]["identity"])


async def keys(rig: Rig, *holders: str, **more: Any) -> None:
    told = EncryptionProgress(fingerprint=FINGERPRINT, maker="bank-a", holders=list(holders))
    connected = [ParticipantProgress(name=bank, connected=True) for bank in BANKS]
    await rig.push(encryption=told, participants=connected, **{"sequence": next(SEQUENCE), **more})


def server_runs(rig: Rig) -> None:
    for bank in BANKS:
        rig.pod_of(rig.client_job(bank), world.running())
    rig.pod_of(rig.server_job(), world.running())


async def test_identities_are_made_before_the_job_starts(rig: Rig) -> None:
    """Owners without a population have none: the job itself asks for them, and heals when they are there."""
    assert rig.condition("Accepted") == ("True", "Accepted")
    for bank in BANKS:
        assert identity_of(rig, bank).startswith("-----BEGIN PUBLIC KEY-----")
    assert rig.events().index("IdentityNotReady") < rig.events().index("Accepted")


async def test_an_owner_that_does_not_let_the_job_in_gets_no_key() -> None:
    rig = Rig()
    rig.door.put(world.participant("bank-a", namespaces=("elsewhere",)))
    rig.door.put(world.claim("bank-a"))
    await rig.start("bank-b", **ENCRYPTED)
    rig.door.put(world.federated_job("other", members=("bank-a", "bank-b"), **ENCRYPTED))
    await rig.settle()
    assert rig.door.find(kinds.SECRET, "bank-a", names.OWNER_IDENTITY) is None
    assert rig.door.find(kinds.SECRET, "bank-b", names.OWNER_IDENTITY) is not None


async def test_an_identity_that_the_owner_has_made_is_the_one_that_counts() -> None:
    rig = Rig()
    mine = new_identity()
    secret = {"kind": "Secret", "metadata": {"name": names.OWNER_IDENTITY, "namespace": "bank-a"}}
    rig.door.put({**secret, "data": {"identity.key": base64.b64encode(mine.private.encode()).decode()}})
    await rig.start(*BANKS, **ENCRYPTED)
    assert identity_of(rig, "bank-a") == mine.public
    assert client_config(rig, "bank-b").encryption is not None
    assert rig.status["privacy"]["encryptionPlan"]["roster"][0]["identity"] == mine.public


async def test_jobs_without_encryption_ask_for_no_identity() -> None:
    rig = Rig()
    await rig.start(*BANKS)
    assert all(rig.door.find(kinds.SECRET, bank, names.OWNER_IDENTITY) is None for bank in BANKS)
    assert rig.condition("KeysReady") == ("True", "NotEncrypted")
    assert rig.status["summary"]["encryption"] == "-"


async def test_gates_and_server_have_the_same_plan(rig: Rig) -> None:
    uid = rig.job["metadata"]["uid"]
    run = RunConfig.model_validate(data(rig, "consortium", names.run_config_name("credit"), "run.json"))
    assert run.encryption is not None
    for bank in BANKS:
        config = client_config(rig, bank)
        assert config.encryption is not None
        assert config.encryption.agreement(uid) == run.encryption.agreement(uid)
        assert config.common_terms() == config.encryption.terms
        assert config.encryption.member(bank).identity == identity_of(rig, bank)
    assert (run.privacy, run.encryption.quorum) == (None, 3)


async def test_no_private_key_leaves_its_namespace(rig: Rig) -> None:
    for bank in BANKS:
        secret = rig.door.find(kinds.SECRET, bank, names.OWNER_IDENTITY)
        assert secret is not None
        private = base64.b64decode(secret["data"]["identity.key"]).decode().splitlines()[1]
        for (kind, namespace, name), found in rig.door.objects.items():
            if (kind, namespace, name) != ("Secret", bank, names.OWNER_IDENTITY):
                assert private not in json.dumps(found), (kind, namespace, name)


async def test_keys_become_ready(rig: Rig) -> None:
    assert rig.condition("KeysReady") == ("False", "WaitingForKeys")
    assert "bank-a has not made" in rig.message("KeysReady")
    server_runs(rig)
    await keys(rig, "bank-a")
    assert rig.condition("KeysReady") == ("False", "WaitingForKeys")
    assert "1 of 3 gates" in rig.message("KeysReady")
    await keys(rig, "bank-c", "bank-a", "bank-b")
    assert rig.condition("KeysReady") == ("True", "KeysHeld")
    assert "KeysReady" in rig.events()
    privacy = rig.status["privacy"]
    assert (privacy["encryption"], privacy["keyMaker"], privacy["keyFingerprint"]) == ("BFV", "bank-a", FINGERPRINT)
    assert privacy["keyHolders"] == list(BANKS)
    assert (privacy["collusionThreshold"], privacy["modelRelease"]) == (0, "Coordinator")
    assert rig.status["summary"]["encryption"] == "BFV"


async def test_holders_stay_known_when_progress_is_cut(rig: Rig) -> None:
    """A termination message of 4,096 bytes may have no room for a thousand names."""
    server_runs(rig)
    await keys(rig, *BANKS)
    cut = EncryptionProgress(fingerprint=FINGERPRINT, maker="bank-a")
    await rig.push(encryption=cut, sequence=next(SEQUENCE))
    assert rig.condition("KeysReady") == ("True", "KeysHeld")
    assert rig.status["privacy"]["keyHolders"] == list(BANKS)


async def test_a_key_that_nobody_holds_any_more_has_no_holders(rig: Rig) -> None:
    server_runs(rig)
    await keys(rig, *BANKS)
    await keys(rig)
    assert rig.status["privacy"].get("keyHolders", []) == []
    assert rig.status["privacy"]["keyFingerprint"] == FINGERPRINT
    assert rig.condition("KeysReady") == ("False", "WaitingForKeys")


async def test_a_job_that_waits_for_keys_says_so(rig: Rig) -> None:
    server_runs(rig)
    await keys(rig, phase="WaitingForParticipants")
    assert (rig.state, rig.status["summary"]["reason"]) == ("Waiting", "WaitingForKeys")


@pytest.mark.parametrize(
    ("code", "reason", "step"),
    [
        (81, "KeyLost", "create it anew"),
        (82, "ModelMismatch", "compare their images"),
        (83, "ModelNotReleased", "must sign the release"),
    ],
)
@pytest.mark.parametrize("pushed", [True, False])
async def test_a_failure_names_the_next_step(rig: Rig, code: int, reason: str, step: str, pushed: bool) -> None:
    server_runs(rig)
    await keys(rig, *BANKS)
    if pushed:
        await rig.push(phase="Failed", reason=reason, message="round 3: " + "x" * 240, sequence=next(SEQUENCE))
    rig.pod_of(rig.server_job(), world.ended(names.CONTAINER_LAUNCHER, code, message="gone"))
    rig.set_job_status(rig.server_job(), world.job_status(Failed="PodFailurePolicy"))
    await rig.settle()
    assert rig.condition("Failed") == ("True", reason)
    assert step in rig.message("Failed")
    assert rig.condition("KeysReady") == ("False", "Completed")


async def test_suspended_all_the_same_says_that_the_key_is_lost(rig: Rig) -> None:
    """The API server refuses it: an operator must not be silent where an older CRD has let it through."""
    server_runs(rig)
    await keys(rig, *BANKS)
    rig.edit(suspend=True)
    await rig.settle()
    assert rig.condition("KeysReady") == ("False", "KeyLost")
    assert "create it anew" in rig.message("KeysReady")


async def test_gates_that_hold_a_key_wait_longer_for_a_new_server(rig: Rig) -> None:
    plain = Rig()
    await plain.start(*BANKS)
    assert client_config(rig, "bank-a").server_lost_seconds == 6 * client_config(plain, "bank-a").server_lost_seconds


def test_a_termination_message_has_room_for_the_fingerprint_of_a_thousand_holders() -> None:
    told = EncryptionProgress(
        fingerprint=FINGERPRINT, maker="bank-a", holders=[f"bank-{number:035d}" for number in range(1024)]
    )
    whole = Progress(job_uid="u", sequence=1, updated_at=world.START, encryption=told, reason="KeyLost")
    left = Progress.model_validate_json(whole.to_termination_message())
    assert left.encryption == told.model_copy(update={"holders": None})
    assert left.reason == "KeyLost"


async def test_each_adversary_has_a_figure_of_its_own() -> None:
    """The budget is charged against the one that its owner's policy names; the job's column is against outsiders."""
    rig = PrivateRig()
    rig.owners()
    asked = owners.job(mechanism="Distributed")
    asked["spec"]["privacy"]["encryption"] = {}
    rig.door.put(asked)
    for _ in range(6):
        await rig.advance(0.5)
    assert rig.accepted()[0] == "True", rig.accepted()
    worst = worst_epsilons(JobPrivacy.model_validate(rig.status["privacy"]).plan or pytest.fail("no plan"))
    assert worst["ServerAndOne"] > worst["Outsiders"] == 3.0
    reserved = rig.budget().reserved
    assert reserved is not None
    assert float(reserved.epsilon) == pytest.approx(worst["ServerAndOne"], abs=2e-3)
    rig.pay("bank-b", "credit", *(f"Train-{number}-1" for number in range(1, 6)))
    for _ in range(8):
        await rig.advance(5)
    told = {each["adversary"]: float(each["spent"]) for each in rig.status["privacy"]["epsilon"]}
    assert told == pytest.approx(worst, abs=2e-3)
    assert told["ServerAndOne"] >= told["OneParticipant"] > told["Outsiders"] == told["CollusionThreshold"]
    assert rig.status["summary"]["epsilon"] == "3.0/3.0"


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ("Coordinator", ""),
        (
            "Participants",
            "; the participants have the model, each in its own volume (privacy.modelRelease Participants)",
        ),
        ("Never", "; nobody has the model (privacy.modelRelease Never)"),
    ],
)
async def test_a_job_without_a_model_says_who_has_it(release: str, says: str) -> None:
    rig = Rig()
    for bank in BANKS:
        rig.door.put(world.participant(bank, models={"claimName": "models"}))
        rig.door.put(world.claim(bank))
        rig.door.put(world.claim(bank, "models"))
    asked = {**ENCRYPTED, "privacy": {"encryption": {}, "modelRelease": release}}
    rig.door.put(world.federated_job(members=BANKS, **asked))
    await rig.settle()
    await rig.push(phase="Complete", reason="Completed", completed=10)
    assert rig.message("Complete") == f"10 of 10 rounds{says}"
