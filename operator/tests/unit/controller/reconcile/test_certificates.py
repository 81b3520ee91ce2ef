"""Certificates outlast the pods that are started with them, however long those waited in a queue."""

import base64
from datetime import datetime, timedelta
from typing import Any

import pytest

from hanse.api import names
from hanse.controller import kinds
from hanse.pki import certificates
from tests.unit.controller import world
from tests.unit.controller.rig import Rig

WEEK = timedelta(days=7)


def ends(rig: Rig, namespace: str, name: str) -> datetime:
    return certificates.not_after(base64.b64decode(rig.certificate(namespace, name)).decode())


def client_ends(rig: Rig) -> datetime:
    client = rig.client_job("bank-a")
    assert client is not None
    return ends(rig, "bank-a", client["metadata"]["name"])


def server_ends(rig: Rig) -> datetime:
    return ends(rig, "consortium", names.server_tls_name("credit"))


def node_key(rig: Rig) -> str:
    client = rig.client_job("bank-a")
    assert client is not None
    secret = rig.door.find(kinds.SECRET, "bank-a", client["metadata"]["name"])
    assert secret is not None
    return str(secret["data"]["node.key"])


async def queued(rig: Rig, **spec: Any) -> None:
    """Server and clients wait in queues."""
    rig.members("bank-b")
    template = {"queueName": "gpus"}
    rig.door.put(world.participant("bank-a", podTemplate=template))
    rig.door.put(world.claim("bank-a"))
    job = world.federated_job(**spec)
    job["metadata"]["labels"] = {names.LABEL_QUEUE: "research"}
    rig.door.put(job)
    await rig.settle()


async def wait(rig: Rig, days: int) -> None:
    for _ in range(days * 4):
        await rig.advance(6 * 3600)


@pytest.mark.parametrize("deadline", [None, 90 * 86_400])
async def test_a_client_that_was_queued_for_weeks_has_time_for_its_whole_run(rig: Rig, deadline: int | None) -> None:
    await queued(rig, **({"activeDeadlineSeconds": deadline} if deadline else {}))
    client = rig.client_job("bank-a")
    assert client is not None
    assert client["spec"]["suspend"] is True
    before = node_key(rig)
    await wait(rig, 30)
    run = timedelta(seconds=client["spec"]["activeDeadlineSeconds"])
    assert client_ends(rig) - rig.clock.now() > run
    assert node_key(rig) == before, "the server knows the participant by it"
    again = rig.client_job("bank-a")
    assert again is not None
    assert again["metadata"]["uid"] == client["metadata"]["uid"], "the queue's place is kept"


async def test_the_operator_may_be_away_for_days_when_the_queue_admits(rig: Rig) -> None:
    await queued(rig)
    await wait(rig, 30)
    rig.clock.advance(5 * 86_400)
    assert client_ends(rig) - rig.clock.now() > WEEK


async def test_a_server_that_was_queued_for_weeks(rig: Rig) -> None:
    await queued(rig)
    await wait(rig, 30)
    server = rig.server_job()
    assert server is not None
    assert server["spec"]["suspend"] is True
    assert server_ends(rig) - rig.clock.now() > timedelta(days=360), "without a deadline it waits for clients' queues"


async def test_nothing_is_made_anew_without_need(rig: Rig) -> None:
    await queued(rig)
    before = client_ends(rig), server_ends(rig)
    for _ in range(20):
        await rig.advance(600)
    assert (client_ends(rig), server_ends(rig)) == before


async def test_what_runs_keeps_its_certificate(rig: Rig) -> None:
    await rig.start()
    for job in (rig.server_job(), rig.client_job("bank-a"), rig.client_job("bank-b")):
        rig.pod_of(job, world.running())
    await rig.push(completed=1)
    before = client_ends(rig), server_ends(rig)
    await wait(rig, 5)
    assert (client_ends(rig), server_ends(rig)) == before
    assert before[0] - rig.clock.now() > WEEK - timedelta(days=5)
