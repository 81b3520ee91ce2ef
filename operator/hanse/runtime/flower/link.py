"""How the server pod's programs reach the SuperLink.

Used by the launcher's control door (`control`), the aggregator and the SuperLink's own start (`link_main`).
"""

import os
import secrets
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient

from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig

#: How long a call waits for a SuperLink that is away. Its sidecar restarts in seconds; after this the pod is lost.
PATIENCE_SECONDS = 120.0
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_RETRYABLE_STATUS = frozenset({502, 503, 504})


class LinkError(Exception):
    """Base of what goes wrong between us and the SuperLink."""


class LinkLostError(LinkError):
    """The SuperLink did not come back in time. Temporary: the pod is retried."""


class RunEndedError(LinkError):
    """The SuperLink says that our run is over (stopped, or its heartbeat lapsed). A new Flower run is needed."""


@dataclass(frozen=True)
class LinkAddress:
    """Where the SuperLink listens and what is needed to be let in."""

    host: str
    port: int
    ca_file: Path
    secret_file: Path

    @classmethod
    def of(cls, paths: Paths, config: RunConfig) -> "LinkAddress":
        """The pod's own SuperLink, on loopback."""
        return cls(
            host="127.0.0.1",
            port=config.superlink_port,
            ca_file=paths.tls / "ca.crt",
            secret_file=secret_file(paths),
        )

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"


def secret_file(paths: Paths) -> Path:
    """The SuperExec secret: made by the SuperLink's container, read by the aggregator, in memory only (emptyDir)."""
    return paths.shared / "superexec.secret"


def ensure_secret(path: Path) -> None:
    """Make the SuperExec secret unless it is there: a restarted SuperLink must keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))


def control_client(address: LinkAddress, give_up: Callable[[], bool] = lambda: False) -> ControlHttpClient:
    """Client of the Control API: register nodes, start, stop and list runs."""
    return ControlHttpClient.from_server_address(
        address.authority,
        False,
        address.ca_file.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperLink")],
        retry_invoker=patient(give_up),
    )


def superexec_client(address: LinkAddress, give_up: Callable[[], bool]) -> RuntimeHttpClient:
    """Client that may acquire tasks, signed with the SuperExec secret as flower-superexec does."""
    secret = address.secret_file.read_text().strip().encode()
    auth = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({_ACQUIRE}))
    return _runtime_client(address, [RuntimeVersionHttpInterceptor(component_name="SuperExec"), auth], give_up)


def task_client(address: LinkAddress, token: str, give_up: Callable[[], bool]) -> RuntimeHttpClient:
    """Client that acts for one acquired task, as flwr-serverapp does."""
    return _runtime_client(
        address,
        [RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"), RuntimeTokenHttpInterceptor(token=token)],
        give_up,
    )


def _runtime_client(
    address: LinkAddress, interceptors: Collection[ProtobufClientInterceptor], give_up: Callable[[], bool]
) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        server_address=address.authority,
        insecure=False,
        root_certificates=address.ca_file.read_bytes(),
        interceptors=list(interceptors),
        retry_invoker=patient(give_up),
    )


def _waits() -> Generator[float, None, None]:
    """Short waits: the SuperLink is a neighbour on loopback whose restart takes about three seconds."""
    wait = 0.05
    while True:
        yield wait
        wait = min(wait * 2, 0.5)


def patient(give_up: Callable[[], bool] = lambda: False) -> RetryInvoker:
    """Retries while the SuperLink is away; anything that it answered itself is not retried.

    Flower's own invoker waits up to 20 s between tries, takes a connection cut within a TLS handshake for a wrong
    certificate, and answers a 401 with SIGINT to the whole process.
    """

    def should_give_up(error: Exception) -> bool:
        if give_up():
            return True
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code not in _RETRYABLE_STATUS
        return False

    return RetryInvoker(
        wait_gen_factory=_waits,
        recoverable_exceptions=(httpx.TransportError, httpx.HTTPStatusError),
        max_tries=None,
        max_time=PATIENCE_SECONDS,
        should_giveup=should_give_up,
        jitter=None,
        wait_function=time.sleep,
    )


def translate(error: Exception) -> LinkError:
    """Our error for one of httpx's."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403):
        return RunEndedError(f"the SuperLink refused the task: HTTP {error.response.status_code}")
    if isinstance(error, httpx.HTTPStatusError):
        return LinkError(f"the SuperLink answered HTTP {error.response.status_code}: {error.response.text[:200]}")
    return LinkLostError(f"the SuperLink is away: {type(error).__name__}")
