"""The small parts: settings, namespaces, resync, health, metrics, the endpoint's certificate."""

import ssl
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from hanse.controller import dispatch, health, kinds
from hanse.controller.cache import Cache
from hanse.controller.engine import SWEEP
from hanse.controller.handlers import handle
from hanse.controller.metrics import Metrics
from hanse.controller.namespaces import Namespaces
from hanse.controller.progress.serving import RENEW_BEFORE, SECRET_NAME, Serving
from hanse.controller.queue import Key, WorkQueue
from hanse.controller.resync import Resync
from hanse.controller.settings import Settings
from hanse.controller.tls import as_client_go
from hanse.pki import certificates
from tests.unit.controller import world
from tests.unit.controller.world import Clock, MemoryDoor

ENVIRONMENT = {"OPERATOR_NAMESPACE": "hanse-system", "SERVER_IMAGE": "s", "GATE_IMAGE": "g"}


# --- settings ---


def test_settings_from_the_environment() -> None:
    made = Settings.from_environment({**ENVIRONMENT, "WATCH_NAMESPACES": "a, b,", "ALLOW_IMAGE_TAGS": "true", "X": "y"})
    assert made.watch_namespaces == ("a", "b")
    assert made.allow_image_tags is True
    assert not made.clusterwide
    assert made.progress_base == "https://hanse-operator.hanse-system.svc:8443"


def test_no_namespace_is_all_namespaces() -> None:
    assert Settings.from_environment({**ENVIRONMENT, "WATCH_NAMESPACES": ""}).clusterwide


def test_how_long_clients_wait_for_a_server() -> None:
    assert Settings.from_environment(ENVIRONMENT).server_lost_seconds == 300
    assert Settings.from_environment({**ENVIRONMENT, "SERVER_LOST_SECONDS": "20"}).server_lost_seconds == 20
    with pytest.raises(ValidationError, match="server_lost_seconds"):
        Settings.from_environment({**ENVIRONMENT, "SERVER_LOST_SECONDS": "1"})


def test_missing_settings_are_named() -> None:
    with pytest.raises(ValidationError, match="gate_image"):
        Settings.from_environment({"OPERATOR_NAMESPACE": "x", "SERVER_IMAGE": "s"})


# --- dispatch ---


def test_a_participant_wakes_the_jobs_that_wait_for_it() -> None:
    clock, cache = Clock(), Cache()
    queue = WorkQueue(clock)
    cache.put(world.federated_job())
    started = world.federated_job("started")
    started["status"] = {"startTime": "2026-11-22T12:00:00Z"}
    cache.put(started)
    handle({"type": "ADDED", "object": world.participant("bank-a")}, cache, queue)
    woken = set(iter(queue.take, None))
    assert woken == {Key("Participant", "bank-a", "bank-a"), Key("FederatedJob", "consortium", "credit")}


def test_a_deleted_job_asks_for_a_sweep() -> None:
    queue = WorkQueue(Clock())
    handle({"type": "DELETED", "object": world.federated_job()}, Cache(), queue)
    assert SWEEP in set(iter(queue.take, None))


def test_secrets_have_no_key() -> None:
    assert dispatch.own_key({"kind": "Secret", "metadata": {"name": "x", "namespace": "y"}}) is None


# --- namespaces and resync ---


class Bench:
    def __init__(self, *watch: str) -> None:
        self.clock, self.door, self.cache = Clock(), MemoryDoor(), Cache()
        self.queue = WorkQueue(self.clock)
        self.opened: list[str | None] = []
        self.namespaces = Namespaces(watch, self.cache)

        async def opened(namespace: str | None) -> None:
            self.opened.append(namespace)

        self.resync = Resync(
            door=self.door,
            cache=self.cache,
            queue=self.queue,
            clock=self.clock,
            namespaces=self.namespaces,
            metrics=Metrics(),
            opened=opened,
        )


async def test_a_closed_namespace_opens_when_its_owner_says_so() -> None:
    bench = Bench("consortium", "bank-a")
    bench.door.denied.add("bank-a")
    assert await bench.resync.everything()
    assert bench.opened == ["consortium"]
    await bench.resync.knock()
    assert bench.opened == ["consortium"]
    bench.door.denied.clear()
    bench.door.put(world.participant("bank-a"))
    await bench.resync.knock()
    assert bench.opened == ["consortium", "bank-a"]
    assert bench.cache.custom(kinds.PARTICIPANT, "bank-a", "bank-a") is not None


async def test_namespaces_that_jobs_name_are_wanted() -> None:
    bench = Bench("consortium")
    bench.door.put(world.federated_job())
    await bench.resync.everything()
    assert bench.namespaces.wanted() == ["bank-a", "bank-b", "consortium"]
    await bench.resync.knock()
    assert set(bench.opened) == {"consortium", "bank-a", "bank-b"}


async def test_clusterwide_is_one_list_for_each_kind() -> None:
    bench = Bench()
    await bench.resync.everything()
    assert bench.opened == [None]
    assert bench.door.count("list") == len(kinds.WATCHED)


async def test_an_api_server_that_is_away_is_no_resync() -> None:
    bench = Bench("consortium")

    async def away(kind: Any, namespace: Any) -> Any:
        from hanse.controller.errors import ApiProblem

        raise ApiProblem("connection refused")

    bench.door.list = away  # type: ignore[method-assign]
    bench.cache.put(world.federated_job())
    before = bench.resync.last
    bench.clock.advance(10)
    assert not await bench.resync.everything()
    assert bench.resync.last == before
    assert bench.cache.custom(kinds.FEDERATED_JOB, "consortium", "credit") is not None


# --- health and metrics ---


def test_health_looks_at_work_done() -> None:
    clock = Clock()
    start = clock.monotonic()
    assert health.verdict(clock, start, 30, 0) == []
    clock.advance(240)
    assert health.verdict(clock, start, 30, 0) == []
    clock.advance(1)
    assert health.verdict(clock, start, 30, 0) == ["no complete resync for 241 s"]
    assert health.verdict(clock, clock.monotonic(), 30, 121) == ["due work has waited for 121 s"]


def test_metrics_show_jobs_by_state() -> None:
    cache, queue, metrics = Cache(), WorkQueue(Clock()), Metrics()
    job = world.federated_job()
    job["status"] = {"summary": {"state": "Running"}}
    cache.put(job)
    metrics.visited("FederatedJob", 0.1)
    metrics.pushed(204)
    text = metrics.render(cache, queue).decode()
    assert 'hanse_federated_jobs{state="Running"} 1.0' in text
    assert 'hanse_progress_pushes_total{code="204"} 1.0' in text
    cache.remove("FederatedJob", "consortium", "credit", "")
    assert 'state="Running"' not in metrics.render(cache, queue).decode()


# --- the endpoint's certificate ---


async def test_the_certificate_is_made_kept_and_renewed() -> None:
    clock, door = Clock(), MemoryDoor()
    serving = Serving(door, clock, "hanse-system", "hanse-operator")
    await serving.refresh()
    first = door.objects["Secret", "hanse-system", SECRET_NAME]
    assert certificates.not_after(serving.ca) > clock.now() + timedelta(days=3000)
    again = Serving(door, clock, "hanse-system", "hanse-operator")
    await again.refresh()
    assert again.ca == serving.ca
    assert door.objects["Secret", "hanse-system", SECRET_NAME] == first
    clock.advance(timedelta(days=90).total_seconds() - RENEW_BEFORE.total_seconds() + 1)
    await again.refresh()
    renewed = door.objects["Secret", "hanse-system", SECRET_NAME]
    assert renewed["data"]["tls.crt"] != first["data"]["tls.crt"]
    assert renewed["data"]["ca.crt"] == first["data"]["ca.crt"]


# --- TLS towards API servers ---


def test_api_servers_are_verified_as_client_go_does() -> None:
    context = as_client_go(ssl.create_default_context())
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
