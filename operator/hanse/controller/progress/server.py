"""POST /v1/jobs/<namespace>/<name>/progress: the whole state each time, over TLS, from a server pod. Run by `main`.

204 taken, 200 taken and answered with a ProgressReply, 400 not a Progress, 401 and 403 not allowed,
409 about another job than the caller's, 503 try again.
"""

from aiohttp import web
from pydantic import ValidationError

from hanse.api.progress import Progress, ProgressReply
from hanse.controller import kinds
from hanse.controller.errors import ApiProblem
from hanse.controller.log import get_logger
from hanse.controller.metrics import Metrics
from hanse.controller.progress.authenticate import Authenticator, Refused
from hanse.controller.progress.store import ProgressStore
from hanse.controller.queue import Key, WorkQueue

BODY_MAX = 2 * 1024 * 1024
#: Pushes of a quick job are written to its status together.
GATHER_SECONDS = 0.5
_BEARER = "Bearer "
_log = get_logger(__name__)


class ProgressServer:
    """The endpoint's handler and what it needs."""

    def __init__(self, authenticator: Authenticator, store: ProgressStore, queue: WorkQueue, metrics: Metrics) -> None:
        self._authenticator = authenticator
        self._store = store
        self._queue = queue
        self._metrics = metrics

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=BODY_MAX)
        application.router.add_post("/v1/jobs/{namespace}/{name}/progress", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.Response:
        code, text = await self._take(request)
        self._metrics.pushed(code)
        kind = "application/json" if code == 200 else "text/plain"
        return web.Response(status=code, text=text or None, content_type=kind)

    async def _take(self, request: web.Request) -> tuple[int, str]:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER) if header.startswith(_BEARER) else ""
        try:
            caller = await self._authenticator.authenticate(token, namespace, name)
        except Refused as error:
            _log.warning("push refused", namespace=namespace, job=name, code=error.code, error=str(error))
            return error.code, str(error)
        except ApiProblem as error:
            _log.warning("push not checked", namespace=namespace, job=name, error=str(error))
            return 503, "the API server does not answer"
        try:
            progress = Progress.model_validate_json(await request.read())
        except ValidationError as error:
            return 400, f"not a Progress: {error.error_count()} errors"
        if progress.job_uid != caller.job_uid:
            return 409, "this is another job's progress"
        if self._store.put(progress.model_copy(update={"pod": caller.pod})):
            self._queue.add(Key(kinds.FEDERATED_JOB.kind, namespace, name), GATHER_SECONDS)
        lost = self._store.lost(caller.job_uid)
        return (200, ProgressReply(lost=lost).model_dump_json(by_alias=True)) if lost else (204, "")
