"""/healthz, which looks at work done, and /metrics. Served by `main` on two plain ports of their own."""

from collections.abc import Callable

from aiohttp import web

from hanse.controller.clock import Clock

#: Resyncs that may fail in a row before we say so; and how long due work may wait.
MISSED_RESYNCS = 4
STALLED_SECONDS = 120.0


def verdict(clock: Clock, last_resync: float, resync_seconds: float, stalled: float) -> list[str]:
    """What is wrong; empty when all is well."""
    problems = []
    since = clock.monotonic() - last_resync
    if since > MISSED_RESYNCS * resync_seconds + STALLED_SECONDS:
        problems.append(f"no complete resync for {since:.0f} s")
    if stalled > STALLED_SECONDS:
        problems.append(f"due work has waited for {stalled:.0f} s")
    return problems


def health_application(problems: Callable[[], list[str]]) -> web.Application:
    """200 ok, or 503 with what is wrong."""

    async def healthz(_: web.Request) -> web.Response:
        found = problems()
        return web.Response(status=503 if found else 200, text="\n".join(found) or "ok")

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    return application


def metrics_application(render: Callable[[], bytes]) -> web.Application:
    """Prometheus' text format."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    return application
