"""Who may push progress, and what is done with it, over the real aiohttp application."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hanse.api import names
from hanse.api.progress import Progress, ProgressReply
from hanse.controller.progress.authenticate import BELIEVE_SECONDS, Authenticator
from hanse.controller.progress.server import ProgressServer
from hanse.controller.progress.store import ProgressStore
from tests.unit.controller import world
from tests.unit.controller.rig import Rig

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
PATH = "/v1/jobs/consortium/credit/progress"


def review(pod: dict[str, Any], *, namespace: str = "consortium", **more: Any) -> dict[str, Any]:
    meta = pod["metadata"]
    return {
        "authenticated": True,
        "audiences": [names.PROGRESS_AUDIENCE],
        "user": {
            "username": f"system:serviceaccount:{namespace}:default",
            "extra": {POD_NAME: [meta["name"]], POD_UID: [meta["uid"]]},
        },
        **more,
    }


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.start(quorum=1)
    server = rig.pod_of(rig.server_job(), world.running())
    client = rig.pod_of(rig.client_job("bank-a"), world.running())
    rig.door.tokens["server"] = review(server)
    rig.door.tokens["client"] = review(client, namespace="bank-a")
    rig.door.tokens["spoofed"] = review(client)
    rig.door.tokens["api"] = review(server, audiences=["https://kubernetes.default.svc"])
    reborn = {**server, "metadata": {**server["metadata"], "uid": "another"}}
    rig.door.tokens["gone"] = review(reborn)
    await rig.settle()
    return rig


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[TestClient[Any, Any]]:
    authenticator = Authenticator(rig.door, rig.cache, rig.clock)
    server = ProgressServer(authenticator, rig.progress, rig.queue, rig.metrics)
    async with TestClient(TestServer(server.application())) as client:
        yield client


def body(rig: Rig, **fields: Any) -> str:
    uid = rig.job["metadata"]["uid"]
    base: dict[str, Any] = {"job_uid": uid, "sequence": 1, "phase": "Running", "updated_at": rig.clock.now()}
    return Progress(**{**base, **fields}).to_json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_server_pods_push_reaches_the_status(rig: Rig, client: TestClient[Any, Any]) -> None:
    answer = await client.post(PATH, data=body(rig, completed=3, total=10), headers=bearer("server"))
    assert answer.status == 204
    await rig.advance(1)
    assert rig.status["round"]["completed"] == 3
    assert rig.state == "Running"


async def test_the_answer_says_who_will_not_come(rig: Rig, client: TestClient[Any, Any]) -> None:
    waiting = body(rig, phase="WaitingForParticipants")
    assert (await client.post(PATH, data=waiting, headers=bearer("server"))).status == 204
    rig.door.put(world.participant("bank-b", namespaces=("other",)))
    await rig.advance(1)
    answer = await client.post(PATH, data=waiting, headers=bearer("server"))
    assert answer.status == 200
    assert ProgressReply.model_validate_json(await answer.read()).lost == ["bank-b"]
    rig.door.put(world.participant("bank-b"))
    await rig.advance(1)
    assert (await client.post(PATH, data=waiting, headers=bearer("server"))).status == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic c2VydmVy"}, 401),
        (bearer("nonsense"), 401),
        (bearer("api"), 401),
        (bearer("client"), 403),
        (bearer("spoofed"), 403),
        (bearer("gone"), 403),
    ],
)
async def test_nobody_else_may(rig: Rig, client: TestClient[Any, Any], headers: dict[str, str], status: int) -> None:
    answer = await client.post(PATH, data=body(rig, completed=9), headers=headers)
    assert answer.status == status
    assert rig.progress.get(rig.job["metadata"]["uid"]) is None


async def test_another_jobs_server_may_not(rig: Rig, client: TestClient[Any, Any]) -> None:
    rig.door.put(world.federated_job("other"))
    await rig.settle()
    answer = await client.post(
        "/v1/jobs/consortium/other/progress", data=body(rig, completed=9), headers=bearer("server")
    )
    assert answer.status == 403


async def test_another_jobs_uid_is_a_conflict(rig: Rig, client: TestClient[Any, Any]) -> None:
    answer = await client.post(PATH, data=body(rig, job_uid="other"), headers=bearer("server"))
    assert answer.status == 409


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobUid": "x"}'])
async def test_nonsense_is_refused(rig: Rig, client: TestClient[Any, Any], text: str) -> None:
    answer = await client.post(PATH, data=text, headers=bearer("server"))
    assert answer.status == 400


@pytest.mark.parametrize("field", ["updatedAt", "roundStartedAt"])
async def test_a_time_without_a_zone_is_refused(rig: Rig, client: TestClient[Any, Any], field: str) -> None:
    naive = json.dumps({**json.loads(body(rig)), field: "2026-11-22T12:00:00"})
    assert (await client.post(PATH, data=naive, headers=bearer("server"))).status == 400
    assert (await client.post(PATH, data=body(rig), headers=bearer("server"))).status == 204


async def test_a_termination_message_without_a_zone_is_ignored(rig: Rig) -> None:
    await rig.push(completed=3)
    last = json.dumps({**json.loads(body(rig, completed=9)), "updatedAt": "2026-11-22T12:00:00"})
    server = rig.server_job()
    rig.pod_of(server, world.ended("launcher", 1, message=last), name="credit-server-x0")
    await rig.settle()
    await rig.push(completed=4, at=rig.clock.now() + timedelta(seconds=1))
    assert rig.status["round"]["completed"] == 4


async def test_an_api_server_that_does_not_answer_is_no_refusal(rig: Rig, client: TestClient[Any, Any]) -> None:
    rig.door.denied.add("")
    answer = await client.post(PATH, data=body(rig), headers=bearer("server"))
    assert answer.status == 503


async def test_tokens_are_reviewed_once_a_while(rig: Rig, client: TestClient[Any, Any]) -> None:
    for _ in range(3):
        await client.post(PATH, data=body(rig), headers=bearer("server"))
    assert rig.door.count("review") == 1
    rig.clock.advance(BELIEVE_SECONDS + 1)
    await client.post(PATH, data=body(rig), headers=bearer("server"))
    assert rig.door.count("review") == 2


async def test_a_token_that_is_no_longer_valid_is_refused_after_a_while(rig: Rig, client: TestClient[Any, Any]) -> None:
    await client.post(PATH, data=body(rig), headers=bearer("server"))
    del rig.door.tokens["server"]
    rig.clock.advance(BELIEVE_SECONDS + 1)
    answer = await client.post(PATH, data=body(rig), headers=bearer("server"))
    assert answer.status == 401


async def test_an_older_push_does_not_replace_a_newer_one(rig: Rig) -> None:
    store = ProgressStore()
    new = Progress(job_uid="x", sequence=5, completed=5, updated_at=rig.clock.now())
    old = Progress(job_uid="x", sequence=4, completed=4, updated_at=rig.clock.now() - timedelta(seconds=1))
    assert store.put(new)
    assert not store.put(old)
    assert store.get("x") == new
    # A new pod counts from the start.
    again = Progress(job_uid="x", sequence=1, completed=5, updated_at=rig.clock.now() + timedelta(seconds=1))
    assert store.put(again)
    store.forget("x")
    assert store.get("x") is None


async def test_progress_of_a_pod_that_is_gone_is_history(rig: Rig, client: TestClient[Any, Any]) -> None:
    members = [{"name": "bank-a", "connected": True}, {"name": "bank-b", "connected": True}]
    await client.post(PATH, data=body(rig, completed=3, total=10, participants=members), headers=bearer("server"))
    await rig.advance(1)
    assert rig.status["summary"]["participants"] == "2/2"
    server = rig.server_job()
    assert server is not None
    rig.pod_of(server, world.running(), name="credit-server-x2", created=world.START + timedelta(minutes=1))
    await rig.settle()
    assert rig.status["round"]["completed"] == 3
    assert rig.status["summary"]["participants"] == "0/2"
    assert rig.condition("Complete") == ("False", "Starting")
