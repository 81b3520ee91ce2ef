"""Who may push a job's progress: a pod of that job's server Job, by a token that was made for us. Called by `server`.

Refused          the push is refused; `code` is the HTTP status
├── Unauthorized 401: no token, or the API server does not know it for our audience
└── Forbidden    403: a pod, but not one of this job's server Job
"""

import hashlib
from dataclasses import dataclass

from hanse.api import names
from hanse.controller import kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock
from hanse.controller.door import Door, Json
from hanse.controller.views import JobView, Meta, PodView, parse_job, parse_meta, parse_pod

#: How long an answer is believed: a pod that is gone may push for so much longer.
BELIEVE_SECONDS = 60.0
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_MAX_REMEMBERED = 4096


class Refused(Exception):
    """The push is refused."""

    code = 403


class Unauthorized(Refused):
    """The token is none of ours."""

    code = 401


class Forbidden(Refused):
    """Not this job's server pod."""


@dataclass(frozen=True)
class Caller:
    """A server pod and its job."""

    job_uid: str
    pod: str


class Authenticator:
    """Reviews tokens through the API server and follows pod -> Job -> FederatedJob by uid."""

    def __init__(self, door: Door, cache: Cache, clock: Clock) -> None:
        self._door = door
        self._cache = cache
        self._clock = clock
        self._believed: dict[tuple[str, str, str], tuple[float, Caller]] = {}

    async def authenticate(self, token: str, namespace: str, job: str) -> Caller:
        """The caller.

        Raises:
            Refused: with the HTTP status.
        """
        if not token:
            raise Unauthorized("no bearer token")
        key = (hashlib.sha256(token.encode()).hexdigest(), namespace, job)
        until, caller = self._believed.get(key, (0.0, None))
        if caller is not None and until > self._clock.monotonic():
            return caller
        caller = await self._review(token, namespace, job)
        if len(self._believed) >= _MAX_REMEMBERED:
            self._believed.clear()
        self._believed[key] = (self._clock.monotonic() + BELIEVE_SECONDS, caller)
        return caller

    async def _review(self, token: str, namespace: str, job: str) -> Caller:
        status = await self._door.review_token(token, names.PROGRESS_AUDIENCE)
        if not status.get("authenticated") or names.PROGRESS_AUDIENCE not in (status.get("audiences") or []):
            raise Unauthorized("the token is not valid for this audience")
        user: Json = status.get("user") or {}
        extra: Json = user.get("extra") or {}
        name, uid = _first(extra, _POD_NAME), _first(extra, _POD_UID)
        if not str(user.get("username", "")).startswith(f"system:serviceaccount:{namespace}:") or not name:
            raise Forbidden("the token is not one of a pod in the job's namespace")
        pod = await self._pod(namespace, name)
        if pod is None or pod.meta.uid != uid:
            raise Forbidden("the token's pod is gone")
        server = await self._server_job(namespace, job)
        if server is None or pod.meta.owner_uid != server.meta.uid:
            raise Forbidden("the pod is not of this job's server Job")
        parent = await self._federated_job(namespace, job)
        if parent is None or server.meta.owner_uid != parent.uid:
            raise Forbidden("the server Job is not of this FederatedJob")
        return Caller(job_uid=parent.uid, pod=name)

    async def _pod(self, namespace: str, name: str) -> PodView | None:
        known = self._cache.pod(namespace, name)
        if known is not None:
            return known
        raw = await self._door.get(kinds.POD, namespace, name)
        return parse_pod(raw) if raw is not None else None

    async def _server_job(self, namespace: str, job: str) -> JobView | None:
        known = self._cache.job(namespace, names.server_name(job))
        if known is not None:
            return known
        raw = await self._door.get(kinds.JOB, namespace, names.server_name(job))
        return parse_job(raw) if raw is not None else None

    async def _federated_job(self, namespace: str, job: str) -> Meta | None:
        known = self._cache.custom(kinds.FEDERATED_JOB, namespace, job)
        if known is not None:
            return known.meta
        raw = await self._door.get(kinds.FEDERATED_JOB, namespace, job)
        return parse_meta(raw) if raw is not None else None


def _first(extra: Json, key: str) -> str:
    values = extra.get(key) or [""]
    return str(values[0])
