"""Pods as restricted Pod Security, the scheduler and the owners see them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hanse.api import names
from hanse.api.exitcodes import PERMANENT, ExitCode
from hanse.api.paths import Paths
from hanse.controller import kinds
from tests.unit.controller import world
from tests.unit.controller.rig import Rig

PATHS = Paths()


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.start()
    return rig


def pod_of(job: dict[str, Any] | None) -> dict[str, Any]:
    assert job is not None
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from spec["initContainers"]
    yield from spec["containers"]


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in containers(spec) if c["name"] == name)


def mounts(spec: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    volumes = {v["name"]: v for v in spec["volumes"]}
    return {m["mountPath"]: volumes[m["name"]] for m in container(spec, name)["volumeMounts"]}


def both(rig: Rig) -> list[dict[str, Any]]:
    return [pod_of(rig.server_job()), pod_of(rig.client_job("bank-a"))]


async def test_restricted_pod_security(rig: Rig) -> None:
    for spec in both(rig):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["restartPolicy"] == "Never"
        for each in containers(spec):
            security = each["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "@sha256:" in each["image"]


async def test_the_token_is_in_the_launcher_alone(rig: Rig) -> None:
    for spec in both(rig):
        for each in containers(spec):
            has = any("serviceAccountToken" in json.dumps(v) for v in mounts(spec, each["name"]).values())
            assert has == (each["name"] == names.CONTAINER_LAUNCHER)
    token = mounts(both(rig)[0], "launcher")[str(PATHS.progress_token.parent)]
    source = token["projected"]["sources"][0]["serviceAccountToken"]
    assert source["audience"] == names.PROGRESS_AUDIENCE


async def test_the_trainer_has_data_and_no_key_and_the_gate_the_other_way_round(rig: Rig) -> None:
    spec = pod_of(rig.client_job("bank-a"))
    trainer, gate, check = mounts(spec, "trainer"), mounts(spec, "gate"), mounts(spec, "app-check")
    assert trainer[str(PATHS.data)]["persistentVolumeClaim"] == {"claimName": "loans", "readOnly": True}
    assert not [v for v in trainer.values() if "secret" in v]
    assert "secret" in gate[str(PATHS.tls)]
    assert str(PATHS.data) not in gate
    assert not [v for v in check.values() if "secret" in v or "persistentVolumeClaim" in v]


async def test_the_apps_first_import_reads_nothing_of_the_owners(rig: Rig) -> None:
    """What it prints may reach the FederatedJob, in the coordinator's namespace."""
    spec = pod_of(rig.client_job("bank-a"))
    source = mounts(spec, "app-check")[str(PATHS.config)]["configMap"]
    config = rig.door.find(kinds.CONFIG_MAP, "bank-a", source["name"])
    assert config is not None
    keys = [item["key"] for item in source["items"]]
    assert [list(json.loads(config["data"][key])) for key in keys] == [["clientApp"]]


async def test_the_gates_journal_is_out_of_the_trainers_reach(rig: Rig) -> None:
    spec = pod_of(rig.client_job("bank-a"))
    journal = mounts(spec, "gate")[str(PATHS.state)]
    assert "emptyDir" in journal
    assert journal["name"] not in [v["name"] for v in mounts(spec, "trainer").values()]


async def test_the_launcher_has_no_key(rig: Rig) -> None:
    spec = pod_of(rig.server_job())
    secrets = [v["secret"] for v in mounts(spec, "launcher").values() if "secret" in v]
    assert [s.get("items") for s in secrets] == [[{"key": "ca.crt", "path": "ca.crt"}]]


async def test_sidecars_restart_and_one_container_ends_the_pod(rig: Rig) -> None:
    server, client = both(rig)
    assert [(c["name"], c.get("restartPolicy")) for c in server["initContainers"]] == [
        ("superlink", "Always"),
        ("front", "Always"),
    ]
    assert [(c["name"], c.get("restartPolicy")) for c in client["initContainers"]] == [
        ("app-check", None),
        ("gate", "Always"),
    ]
    assert [c["name"] for c in server["containers"]] == ["launcher"]
    assert [c["name"] for c in client["containers"]] == ["trainer"]


async def test_failure_policy(rig: Rig) -> None:
    for job, watched in ((rig.server_job(), {"launcher"}), (rig.client_job("bank-a"), {"trainer", "app-check"})):
        assert job is not None
        rules = job["spec"]["podFailurePolicy"]["rules"]
        assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        fail = [r["onExitCodes"] for r in rules if r["action"] == "FailJob"]
        assert {f["containerName"] for f in fail} == watched
        assert all(set(f["values"]) == {int(c) for c in PERMANENT} for f in fail)
        ignored = [r["onExitCodes"]["values"] for r in rules[1:] if r["action"] == "Ignore"]
        assert ignored == [[int(ExitCode.DRAINED)]] * len(watched)
        assert len(rules) <= 20
        assert job["spec"]["podReplacementPolicy"] == "Failed"
        assert job["spec"]["backoffLimit"] == 3


async def test_a_demo_fits_two_cores(rig: Rig) -> None:
    def cpu(spec: dict[str, Any]) -> int:
        running = [c for c in containers(spec) if c["name"] != "app-check"]
        return sum(int(c["resources"]["requests"]["cpu"].removesuffix("m")) for c in running)

    server, client = both(rig)
    assert cpu(server) + 3 * cpu(client) <= 1000


async def test_client_jobs_have_a_hard_deadline(rig: Rig) -> None:
    job = rig.client_job("bank-a")
    assert job is not None
    assert job["spec"]["activeDeadlineSeconds"] == 7 * 24 * 3600


async def test_what_owners_ask_for_arrives_on_their_pods_alone() -> None:
    rig = Rig()
    rig.members("bank-a", "bank-b")
    template = {
        "queueName": "gpus",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "runtimeClassName": "nvidia",
        "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "128Mi"}},
        "gateResources": {"requests": {"memory": "2Gi"}, "limits": {"cpu": "2"}},
    }
    rig.door.put(world.participant("bank-a", podTemplate=template))
    rig.door.put(world.federated_job())
    await rig.settle()
    job, other = rig.client_job("bank-a"), rig.client_job("bank-b")
    assert job is not None
    assert other is not None
    spec = pod_of(job)
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["runtimeClassName"] == "nvidia"
    resources = container(spec, "trainer")["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": "1", "memory": "128Mi"}
    assert "memory" not in resources["requests"]  # 256Mi would be more than its limit
    gate = container(spec, "gate")["resources"]
    assert gate == {"requests": {"memory": "2Gi"}, "limits": {"cpu": "2"}}
    assert container(pod_of(other), "gate")["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}}
    assert job["metadata"]["labels"][names.LABEL_QUEUE] == "gpus"
    assert job["spec"]["suspend"] is True
    assert "suspend" not in other["spec"]
    assert names.LABEL_QUEUE not in pod_of(other)
    assert rig.condition("QuotaReserved") == ("False", "Queued")


async def test_the_users_server_app_runs_in_the_users_image() -> None:
    rig = Rig()
    app = {"image": world.IMAGE, "clientApp": "mine:client", "serverApp": "mine:server"}
    await rig.start(app=app)
    spec = pod_of(rig.server_job())
    assert container(spec, "launcher")["image"] == world.IMAGE
    assert container(spec, "superlink")["image"].startswith("hanse/server@")


async def test_output_storage_and_claim() -> None:
    rig = Rig()
    rig.door.put(world.claim("consortium", "models"))
    await rig.start(output={"claimName": "models"})
    assert mounts(pod_of(rig.server_job()), "launcher")[str(PATHS.output)]["persistentVolumeClaim"] == {
        "claimName": "models"
    }
    rig = Rig()
    await rig.start(output={"storage": {"size": "5Gi", "storageClassName": "fast"}})
    made = rig.door.objects["PersistentVolumeClaim", "consortium", "credit-state"]
    assert made["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert made["spec"]["storageClassName"] == "fast"
    launcher = container(pod_of(rig.server_job()), "launcher")
    assert next(m for m in launcher["volumeMounts"] if m["mountPath"] == str(PATHS.output))["subPath"] == "output"


async def test_everything_in_a_jobs_namespace_belongs_to_it(rig: Rig) -> None:
    uid = rig.job["metadata"]["uid"]
    for (kind, namespace, _), made in rig.door.objects.items():
        if namespace == "consortium" and kind not in ("FederatedJob", "Event"):
            assert [o["uid"] for o in made["metadata"]["ownerReferences"]] == [uid], kind
            assert made["metadata"]["labels"][names.LABEL_JOB_UID] == uid


async def test_a_sidecar_runs_no_code_that_the_main_container_can_write(rig: Rig) -> None:
    """Same user id, HOME and working directory /tmp: a module left there would run with the sidecar's key."""
    for spec, main in zip(both(rig), (names.CONTAINER_LAUNCHER, names.CONTAINER_TRAINER), strict=True):
        sidecars = [c for c in spec["initContainers"] if c.get("restartPolicy") == "Always"]
        assert sidecars
        theirs = mounts(spec, main)["/tmp"]
        for each in sidecars:
            assert mounts(spec, each["name"])["/tmp"] != theirs
            environment = {e["name"]: e.get("value") for e in each["env"]}
            assert environment["PYTHONSAFEPATH"] == "1"
            assert environment["PYTHONNOUSERSITE"] == "1"
