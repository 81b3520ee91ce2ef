"""What an attacker who has taken over the server pod finds there: no secret key, and no way to one.

The pod as the operator makes it for an encrypted job: environment, mounts, account, and what the API server lets its
accounts do. What is not named here is not there: the lists are complete.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hanse.api import names, rbac
from hanse.api.encryption import EncryptionPlan, RosterMember
from hanse.api.job import FederatedJobSpec, FrozenImages
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.controller.manifests import server, server_objects
from hanse.controller.views import Meta
from tests.unit.controller.rig import Rig
from tests.unit.controller.world import DIGEST, federated_job

JOB = Meta("FederatedJob", "consortium", "credit", "11111111-2222-3333-4444-555555555555")
PATHS = Paths()
MEMBERS = ("bank-a", "bank-b", "bank-c")
IMAGES = FrozenImages(**{name: f"hanse/{name}@{DIGEST}" for name in FrozenImages.model_fields})
#: Everything that a server pod mounts, and where from.
MOUNTS = {
    str(PATHS.config): ("configMap", "the run's config"),
    str(PATHS.tls): ("secret", "the front's certificate and key; the launcher has the CA's certificate alone"),
    str(PATHS.shared): ("emptyDir", "sockets"),
    str(PATHS.state): ("persistentVolumeClaim", "SuperLink's database and the checkpoint"),
    str(PATHS.output): ("persistentVolumeClaim", "the model"),
    str(PATHS.progress_token.parent): ("projected", "a token for the operator alone"),
    str(PATHS.operator_ca.parent): ("configMap", "the CA of the progress endpoint"),
    "/tmp": ("emptyDir", "scratch"),
}


def identity() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


PLAN = EncryptionPlan(
    scheme="BFV",
    key_maker="bank-a",
    quorum=2,
    rounds=10,
    range="1",
    terms="sha256:" + "0" * 64,
    roster=[RosterMember(name=name, identity=identity(), scale="1", mass="1") for name in MEMBERS],
)


@pytest.fixture
def spec() -> FederatedJobSpec:
    asked = federated_job(members=MEMBERS, privacy={"encryption": {"scheme": "BFV"}})["spec"]
    return FederatedJobSpec.model_validate(asked)


@pytest.fixture
def pod(spec: FederatedJobSpec) -> dict[str, Any]:
    made: dict[str, Any] = server.build_server_job(JOB, spec, IMAGES)["spec"]["template"]["spec"]
    return made


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod["initContainers"]
    yield from pod["containers"]


def test_its_environment_is_the_pods_name_and_switches(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert "envFrom" not in container
        for variable in container["env"]:
            if variable["name"] == "POD_NAME":
                assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
            else:
                assert variable in (
                    {"name": "PYTHONSAFEPATH", "value": "1"},
                    {"name": "PYTHONNOUSERSITE", "value": "1"},
                )


def test_it_mounts_what_is_listed_and_nothing_else(pod: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in containers(pod):
        for mount in container["volumeMounts"]:
            (kind,) = volumes[mount["name"]].keys() - {"name"}
            assert (mount["mountPath"], kind) in {(path, kind) for path, (kind, _) in MOUNTS.items()}
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert {secret["secretName"] for secret in secrets} == {names.server_tls_name(JOB.name)}
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [names.state_claim_name(JOB.name)]
    (launcher,) = pod["containers"]
    tls = next(volumes[m["name"]] for m in launcher["volumeMounts"] if m["mountPath"] == str(PATHS.tls))
    assert tls["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_no_owners_key_and_no_owners_name_is_in_it(pod: dict[str, Any]) -> None:
    text = json.dumps(pod)
    for word in (names.OWNER_IDENTITY, str(PATHS.identity_key.parent), str(PATHS.ledger_access), "hostPath"):
        assert word not in text
    for namespace in MEMBERS:
        assert namespace not in text


def test_the_api_server_knows_it_as_nobody(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert not {"serviceAccountName", "serviceAccount", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
    tokens = [s["serviceAccountToken"] for v in pod["volumes"] for s in v.get("projected", {}).get("sources", [])]
    assert [token["audience"] for token in tokens] == [names.PROGRESS_AUDIENCE]  # the API server takes it for nothing


def test_no_role_is_bound_to_an_account_that_it_could_use() -> None:
    made = rbac.owner_manifests("bank-a", operator_namespace="hanse-system")
    subjects = [s for m in made if m["kind"] == "RoleBinding" for s in m["subjects"]]
    assert {(s["namespace"], s["name"]) for s in subjects} == {
        ("hanse-system", rbac.DEFAULT_SERVICE_ACCOUNT),
        ("bank-a", rbac.GATE_ACCOUNT),
    }
    # What gates may do holds no way to a Secret either: a gate's token tells nothing of another gate's key.
    assert not [rule for rule in rbac.gate_rules() if "secrets" in rule["resources"] or "*" in rule["resources"]]
    assert not [rule for rule in rbac.gate_rules() if "pods/exec" in rule["resources"]]


def test_its_config_and_its_secret_hold_public_keys_of_participants_alone(spec: FederatedJobSpec) -> None:
    participants = [ServerParticipant(name=n, index=i, public_key="") for i, n in enumerate(MEMBERS)]
    reference = JobRef(namespace=JOB.namespace, name=JOB.name, uid=JOB.uid)
    config = RunConfig.from_spec(spec, reference, participants, output_path="m").model_copy(update={"encryption": PLAN})
    (text,) = server_objects.build_run_config(JOB, config)["data"].values()
    assert text.count("BEGIN PUBLIC KEY") == len(MEMBERS)
    assert "PRIVATE" not in text
    # No number in it is long enough to be a key but for digests and the public keys.
    rest = re.sub(r"sha256:[0-9a-f]{64}|BEGIN PUBLIC KEY.*?END PUBLIC KEY", "", text)
    assert re.findall(r"[A-Za-z0-9+/_=-]{40,}", rest) == []
    secret = server_objects.build_server_tls(JOB, ca="CA", certificate="C", key="K")
    assert secret["data"].keys() == {"ca.crt", "tls.crt", "tls.key"}


# --- everything that the operator makes for an encrypted job ----------------------------------------------------------


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.start(*MEMBERS, privacy={"encryption": {}}, aggregation={"weights": "Equal"})
    return rig


def readable(manifest: dict[str, Any]) -> str:
    """All of an object, with what a Secret holds in the clear."""
    data = manifest.get("data") or {} if manifest["kind"] == "Secret" else {}
    return json.dumps(manifest) + "".join(base64.b64decode(value).decode() for value in data.values())


def private_keys(rig: Rig, namespace: str) -> list[str]:
    """Every private key in the Secrets of a namespace."""
    found = []
    for (kind, where, _), manifest in rig.door.objects.items():
        if (kind, where) == ("Secret", namespace):
            found += re.findall(r"BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", readable(manifest), re.DOTALL)
    return found


async def test_no_owners_key_is_in_any_object_outside_its_namespace(rig: Rig) -> None:
    for owner in MEMBERS:
        keys = private_keys(rig, owner)
        assert len(keys) >= 3  # identity, node key, TLS: the test looks at the right things
        for (kind, namespace, name), manifest in rig.door.objects.items():
            if namespace != owner:
                text = readable(manifest)
                assert not [key for key in keys if key in text], f"{kind} {namespace}/{name}"


async def test_the_jobs_key_is_in_no_secret_and_its_directory_in_no_volume_but_the_gates_own(rig: Rig) -> None:
    known = {"ca.crt", "tls.crt", "tls.key", "node.key", "identity.key"}
    for (kind, _, name), manifest in rig.door.objects.items():
        if kind == "Secret":
            assert set(manifest["data"]) <= known, name
    for owner in MEMBERS:
        job = rig.client_job(owner)
        assert job is not None
        pod = job["spec"]["template"]["spec"]
        # The gate keeps the key below Paths.state: a directory that ends with the pod and that no other container has.
        holders = [
            (c["name"], m["name"])
            for c in containers(pod)
            for m in c["volumeMounts"]
            if m["mountPath"] == str(PATHS.state)
        ]
        ((container, volume),) = holders
        assert container == names.CONTAINER_GATE
        assert "emptyDir" in next(v for v in pod["volumes"] if v["name"] == volume)
        assert [c["name"] for c in containers(pod) for m in c["volumeMounts"] if m["name"] == volume] == [container]


async def test_the_server_pod_of_the_running_job_is_the_one_that_is_looked_at_here(rig: Rig) -> None:
    job = rig.server_job()
    assert job is not None
    made = job["spec"]["template"]["spec"]
    test_its_environment_is_the_pods_name_and_switches(made)
    test_the_api_server_knows_it_as_nobody(made)
    test_no_owners_key_and_no_owners_name_is_in_it(made)
