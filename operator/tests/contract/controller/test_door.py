"""One suite for both doors: the one in memory that unit tests use, and lightkube on a real kube-apiserver."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from lightkube.config.kubeconfig import KubeConfig

from e2e.cluster import apiserver
from e2e.cluster.kubeapi import KubeApi
from hanse.api import names
from hanse.controller import errors, kinds
from hanse.controller.cluster import Cluster
from hanse.controller.door import Door, Json
from tests.unit.controller.world import MemoryDoor, federated_job

CRDS = Path(__file__).resolve().parents[4] / "crds"
LABELS = {names.LABEL_MANAGED_BY: names.MANAGED_BY}


@pytest.fixture(scope="module")
def server() -> Iterator[apiserver.ApiServer]:
    import yaml

    with apiserver.running() as running:
        kube = KubeApi(running.kubeconfig)
        for file in CRDS.glob("*.yaml"):
            crd = yaml.safe_load(file.read_text())
            kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        yield running


@pytest.fixture(params=["memory", "lightkube"])
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    if request.param == "memory":
        yield MemoryDoor()
        return
    running: apiserver.ApiServer = request.getfixturevalue("server")
    cluster = Cluster(KubeConfig.from_file(str(running.kubeconfig)))
    await _established(cluster)
    yield cluster
    await cluster.close()


async def _established(door: Door) -> None:
    """A CRD is served a moment after it was made."""
    import asyncio

    for _ in range(200):
        try:
            await door.list(kinds.FEDERATED_JOB, "default")
            return
        except errors.ApiProblem:
            await asyncio.sleep(0.1)
    raise AssertionError("the CRDs are not served")


@pytest.fixture
def job() -> Json:
    made = federated_job(f"job-{uuid.uuid4().hex[:8]}")
    made["metadata"]["namespace"] = "default"
    return made


def config(value: str = "1") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"config-{uuid.uuid4().hex[:8]}", "namespace": "default", "labels": LABELS},
        "data": {"value": value},
    }


async def test_get_of_nothing_is_none(door: Door) -> None:
    assert await door.get(kinds.FEDERATED_JOB, "default", "nothing") is None


async def test_create_once(door: Door, job: Json) -> None:
    made = await door.create(job)
    assert made is not None
    assert made["kind"] == "FederatedJob"
    assert made["metadata"]["uid"]
    assert await door.create(job) is None


async def test_lists_carry_kinds_and_honour_selectors(door: Door, job: Json) -> None:
    await door.create(job)
    found = await door.list(kinds.FEDERATED_JOB, "default")
    assert job["metadata"]["name"] in {o["metadata"]["name"] for o in found}
    assert {o["kind"] for o in found} == {"FederatedJob"}
    everywhere = await door.list(kinds.FEDERATED_JOB, None)
    assert job["metadata"]["name"] in {o["metadata"]["name"] for o in everywhere}
    ours, theirs = config(), config()
    theirs["metadata"]["labels"] = {}
    await door.create(ours)
    await door.create(theirs)
    listed = {o["metadata"]["name"] for o in await door.list(kinds.CONFIG_MAP, "default")}
    assert ours["metadata"]["name"] in listed
    assert theirs["metadata"]["name"] not in listed


async def test_apply_creates_changes_and_leaves_alone(door: Door) -> None:
    manifest = config("1")
    first = await door.apply(manifest)
    same = await door.apply(manifest)
    assert same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    changed = await door.apply({**manifest, "data": {"value": "2"}})
    assert changed["data"] == {"value": "2"}
    assert changed["metadata"]["uid"] == first["metadata"]["uid"]


async def test_merge_raises_the_generation(door: Door, job: Json) -> None:
    made = await door.create(job)
    assert made is not None
    name = job["metadata"]["name"]
    changed = await door.merge(kinds.FEDERATED_JOB, "default", name, {"spec": {"suspend": True}})
    assert changed["spec"]["suspend"] is True
    assert changed["spec"]["rounds"] == 10
    assert changed["metadata"]["generation"] == made["metadata"]["generation"] + 1
    with pytest.raises(errors.Gone):
        await door.merge(kinds.FEDERATED_JOB, "default", "nothing", {"spec": {"suspend": True}})


async def test_status_is_written_to_one_version_only(door: Door, job: Json) -> None:
    made = await door.create(job)
    assert made is not None
    name, version = job["metadata"]["name"], made["metadata"]["resourceVersion"]
    written = await door.apply_status(kinds.FEDERATED_JOB, "default", name, version, {"starts": 1})
    assert written["status"]["starts"] == 1
    assert written["metadata"]["generation"] == made["metadata"]["generation"]
    with pytest.raises(errors.Conflict):
        await door.apply_status(kinds.FEDERATED_JOB, "default", name, version, {"starts": 2})
    version = written["metadata"]["resourceVersion"]
    again = await door.apply_status(kinds.FEDERATED_JOB, "default", name, version, {"starts": 1})
    assert again["metadata"]["resourceVersion"] == version


async def test_a_field_left_out_of_a_status_is_removed(door: Door, job: Json) -> None:
    made = await door.create(job)
    assert made is not None
    name = job["metadata"]["name"]
    one = await door.apply_status(
        kinds.FEDERATED_JOB, "default", name, made["metadata"]["resourceVersion"], {"starts": 1, "planHash": "x"}
    )
    two = await door.apply_status(
        kinds.FEDERATED_JOB, "default", name, one["metadata"]["resourceVersion"], {"starts": 1}
    )
    assert "planHash" not in two["status"]


async def test_delete_of_what_is_gone_is_fine(door: Door) -> None:
    manifest = config()
    await door.create(manifest)
    name = manifest["metadata"]["name"]
    await door.delete(kinds.CONFIG_MAP, "default", name)
    await door.delete(kinds.CONFIG_MAP, "default", name)
    assert await door.get(kinds.CONFIG_MAP, "default", name) is None


async def test_an_unknown_token_is_not_authenticated(door: Door) -> None:
    assert not (await door.review_token("nonsense", names.PROGRESS_AUDIENCE)).get("authenticated")


async def test_an_api_server_that_is_away_is_a_problem(tmp_path: Path, server: apiserver.ApiServer) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(server.kubeconfig.read_text().replace(server.url, "https://127.0.0.1:1"))
    away = Cluster(KubeConfig.from_file(str(file)))
    with pytest.raises(errors.ApiProblem, match="API server"):
        await away.get(kinds.FEDERATED_JOB, "default", "x")
    await away.close()


async def test_a_status_is_replaced_whole_whoever_wrote_it(door: Door, job: Json) -> None:
    """Server-side apply would leave what another field manager owns."""
    made = await door.create(job)
    assert made is not None
    name = job["metadata"]["name"]
    one = await door.apply_status(
        kinds.FEDERATED_JOB, "default", name, made["metadata"]["resourceVersion"], {"starts": 1, "planHash": "x"}
    )
    version = one["metadata"]["resourceVersion"]
    two = await door.replace_status(kinds.FEDERATED_JOB, "default", name, version, {"starts": 2})
    assert two["status"]["starts"] == 2
    assert "planHash" not in two["status"]
    with pytest.raises(errors.Conflict):
        await door.replace_status(kinds.FEDERATED_JOB, "default", name, version, {"starts": 3})
