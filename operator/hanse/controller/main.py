"""The operator's process: builds the parts, starts kopf beside them, ends with them.

Run as `python3 -m hanse.controller`.
"""

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Sequence
from typing import Any

import kopf
from aiohttp import web
from kopf._cogs.structs.references import Insights
from pydantic import ValidationError

from hanse.api import names
from hanse.controller import handlers, health, kinds, log
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock, SystemClock
from hanse.controller.cluster import Cluster
from hanse.controller.door import Door
from hanse.controller.engine import Engine
from hanse.controller.errors import ApiProblem
from hanse.controller.events import Recorder
from hanse.controller.execute import Executor
from hanse.controller.metrics import Metrics
from hanse.controller.namespaces import Namespaces
from hanse.controller.observe import Observer
from hanse.controller.progress.authenticate import Authenticator
from hanse.controller.progress.server import ProgressServer
from hanse.controller.progress.serving import Serving
from hanse.controller.progress.store import ProgressStore
from hanse.controller.queue import WorkQueue, drain
from hanse.controller.reconcile.model import Defaults
from hanse.controller.resync import Resync
from hanse.controller.settings import Settings
from hanse.controller.sweep import Sweeper

_RENEW_CHECK_SECONDS = 3600.0
_log = log.get_logger(__name__)


class Operator:
    """All parts of one operator process."""

    def __init__(self, settings: Settings, door: Door, clock: Clock) -> None:
        self.settings = settings
        self.cache = Cache()
        self.queue = WorkQueue(clock)
        self.metrics = Metrics()
        self.progress = ProgressStore()
        self.insights = Insights()
        self._any_opened = asyncio.Event()
        self._clock = clock
        self._door = door
        self.observer = Observer(self.cache, door, self.progress, _defaults(settings))
        self.namespaces = Namespaces(settings.watch_namespaces, self.cache)
        self.serving = Serving(door, clock, settings.operator_namespace, settings.service_name)
        self.engine = Engine(
            cache=self.cache,
            door=door,
            queue=self.queue,
            clock=clock,
            observer=self.observer,
            executor=Executor(door, self.cache, clock, settings.operator_namespace),
            recorder=Recorder(door, clock),
            metrics=self.metrics,
            progress=self.progress,
            sweep=Sweeper(door, self.cache, self.progress, settings.operator_namespace).sweep,
        )
        self.resync = Resync(
            door=door,
            cache=self.cache,
            queue=self.queue,
            clock=clock,
            namespaces=self.namespaces,
            metrics=self.metrics,
            opened=self._opened,
        )

    async def _opened(self, namespace: str | None) -> None:
        _log.info("namespace is served", served=namespace)
        self._any_opened.set()
        await handlers.add_namespace(self.insights, namespace)

    def problems(self) -> list[str]:
        """For /healthz."""
        return health.verdict(self._clock, self.resync.last, self.settings.resync_seconds, self.queue.stalled_seconds())

    async def run(self, stop: "Stop") -> None:
        """Until `stop`, or until a part fails."""
        async with contextlib.AsyncExitStack() as stack:
            await self._serve(stack, health.health_application(self.problems), self.settings.liveness_port)
            rendered = health.metrics_application(lambda: self.metrics.render(self.cache, self.queue))
            await self._serve(stack, rendered, self.settings.metrics_port)
            await self._prepare()
            authenticator = Authenticator(self._door, self.cache, self._clock)
            pushes = ProgressServer(authenticator, self.progress, self.queue, self.metrics).application()
            await self._serve(stack, pushes, self.settings.progress_port, self.serving.context)
            parts = [
                asyncio.create_task(drain(self.queue, self.engine.run, self.settings.workers), name="queue"),
                asyncio.create_task(self.resync.run(self.settings.resync_seconds), name="resync"),
                asyncio.create_task(self._renew(), name="certificate"),
                asyncio.create_task(self._kopf(stop), name="kopf"),
                asyncio.create_task(stop.wait(), name="stop"),
            ]
            await _first_of(parts)

    async def _prepare(self) -> None:
        """Wait for the API server and the CRDs: the chart may install them a moment after us."""
        while True:
            try:
                await self.serving.refresh()
                self.observer.operator_ca = self.serving.ca
                if await self.resync.everything():
                    return
            except ApiProblem as error:
                _log.warning("not ready", error=str(error))
            await asyncio.sleep(1)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_CHECK_SECONDS)
            try:
                await self.serving.refresh()
            except ApiProblem as error:
                _log.warning("certificate not renewed", error=str(error))

    async def _serve(
        self,
        stack: contextlib.AsyncExitStack,
        application: web.Application,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self.settings.bind_address, port, ssl_context=tls).start()

    async def _kopf(self, stop: "Stop") -> None:
        registry = kopf.OperatorRegistry()
        handlers.register(registry, self.cache, self.queue)
        # Namespaces are added to `insights` as they open; kopf only asks that there be one to begin with.
        await self._any_opened.wait()
        granted = sorted(n for n in self.namespaces.granted if n is not None)
        await kopf.operator(
            registry=registry,
            settings=_kopf_settings(),
            insights=self.insights,
            clusterwide=self.settings.clusterwide,
            namespaces=granted,
            ready_flag=stop.taken_over,
        )


def _kopf_settings() -> kopf.OperatorSettings:
    """No peering, no scanning, no Events of its own, quick to notice a dead watch."""
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.queueing.idle_timeout = 0.5  # handlers only fill a queue: no reason to keep a task for each object
    settings.queueing.exit_timeout = 0.5
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{names.GROUP}/finalizer"
    settings.process.ultimate_exiting_timeout = 25
    for kind in kinds.WATCHED:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings


def _defaults(settings: Settings) -> Defaults:
    return Defaults(
        operator_namespace=settings.operator_namespace,
        server_image=settings.server_image,
        gate_image=settings.gate_image,
        allow_image_tags=settings.allow_image_tags,
        progress_base=settings.progress_base,
        server_lost_seconds=settings.server_lost_seconds,
    )


async def _first_of(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Until one ends; then all end, and what the first one raised is raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class Stop:
    """SIGTERM and SIGINT. kopf takes them over when it starts and then ends at leisure: they are taken back."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.taken_over = asyncio.Event()
        self._listen()

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._asked.set)

    async def wait(self) -> None:
        """Until a signal comes."""
        asked = asyncio.create_task(self._asked.wait())
        taken_over = asyncio.create_task(self.taken_over.wait())
        await asyncio.wait((asked, taken_over), return_when=asyncio.FIRST_COMPLETED)
        taken_over.cancel()
        self._listen()
        await asked


async def _main(settings: Settings) -> None:
    stop = Stop()
    door = Cluster()
    try:
        await Operator(settings, door, SystemClock()).run(stop)
    finally:
        await door.close()


def main() -> None:
    """Entry point."""
    try:
        settings = Settings.from_environment()
    except ValidationError as error:
        wrong = ", ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        sys.exit(f"settings from the environment: {wrong}")
    log.configure(settings.log_level)
    asyncio.run(_main(settings))
