"""A server pod without Kubernetes: one directory as root, own CA, real processes. For tests and benchmarks."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from hanse.api.job import Aggregation
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.progress import Progress
from hanse.api.runconfig import RunConfig, ServerParticipant
from hanse.pki import certificates
from hanse.pki.nodekeys import new_node_key

_SOURCES = str(Path(__file__).parents[4])


@dataclass(frozen=True)
class Authority:
    """A CA that lives as long as the test."""

    pair: certificates.Pair

    @classmethod
    def make(cls) -> "Authority":
        return cls(certificates.new_authority("test CA", datetime.now(UTC), days=1))

    def issue(self, directory: Path, common_name: str, *, server: bool) -> None:
        """ca.crt, tls.crt and tls.key in `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        usage = certificates.SERVER if server else certificates.CLIENT
        sans = ("localhost", "127.0.0.1") if server else (common_name,)
        made = certificates.issue(self.pair, common_name, datetime.now(UTC), sans=sans, usage=usage, days=1)
        (directory / "ca.crt").write_text(self.pair.certificate)
        (directory / "tls.crt").write_text(made.certificate)
        (directory / "tls.key").write_text(made.key)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Poll until `condition` is true; the time-out is generous and only for a test that has failed anyway."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"timed out waiting for {what}")


@dataclass
class Rig:
    """Root directory, keys and processes of one job."""

    root: Path
    clients: int = 2
    settings: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.authority = Authority.make()
        self.node_keys = [new_node_key() for _ in range(self.clients)]
        self.paths = Paths(self.root / "server")
        for directory in (self.paths.config, self.paths.shared, self.paths.state, self.paths.output):
            directory.mkdir(parents=True, exist_ok=True)
        self.paths.termination_log.parent.mkdir(parents=True, exist_ok=True)
        self.authority.issue(self.paths.tls, "server", server=True)
        self.config = RunConfig(**(self._defaults() | self.settings))
        self.write_config(self.config)

    def write_config(self, config: RunConfig) -> None:
        self.config = config
        self.paths.run_config.write_text(config.model_dump_json(by_alias=True))

    def _defaults(self) -> dict[str, Any]:
        return {
            "job": JobRef(namespace="consortium", name="job", uid="00000000-0000-4000-8000-000000000001"),
            "client_app": "app:app",
            "participants": [
                ServerParticipant(name=f"p{i}", index=i, public_key=key.public) for i, key in enumerate(self.node_keys)
            ],
            "quorum": self.clients,
            "rounds": 3,
            "start_timeout_seconds": 60,
            "round_timeout_seconds": 30,
            "aggregation": Aggregation(),
            "server_port": free_port(),
            "superlink_port": free_port(),
        }

    def node_key_file(self, index: int) -> Path:
        """The node's private key as a file, in the form that the gate reads."""
        path = self.root / f"node-{index}.key"
        path.write_text(self.node_keys[index].private)
        return path

    def start(self, name: str, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, its output in `<name>.log`."""
        quiet = {
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_HOME": str(self.root / f"flwr-{name}"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": _SOURCES,
        }
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                list(command),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | quiet | environment,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_program(self, name: str, module: str, root: Path | None = None, **environment: str) -> None:
        command = [sys.executable, "-m", module, "--root", str(root or self.paths.root)]
        self.start(name, command, **environment)

    def start_superlink(self) -> None:
        self.start_program("superlink", "hanse.runtime.superlink", POD_NAME="pod-1")

    def start_server(self, pod: str = "pod-1", **environment: str) -> None:
        self.start_program("server", "hanse.runtime.server", None, POD_NAME=pod, **environment)

    def start_node(self, index: int, *extra: str, port: int | None = None) -> None:
        address = f"127.0.0.1:{port or self.config.superlink_port}"
        program = Path(__file__).with_name("node.py")
        ca, key = str(self.paths.tls / "ca.crt"), str(self.node_key_file(index))
        self.start(f"node-{index}", [sys.executable, str(program), address, ca, key, str(index), *extra])

    def progress(self) -> Progress | None:
        """What the launcher has last written."""
        with contextlib.suppress(FileNotFoundError):
            return Progress.model_validate_json((self.paths.shared / "progress.json").read_bytes())
        return None

    def wait_exit(self, name: str, seconds: float = 60.0) -> int:
        return self.processes.pop(name).wait(seconds)

    def wait_superlink(self) -> None:
        url = f"https://127.0.0.1:{self.config.superlink_port}/health"
        trust = ssl.create_default_context(cafile=str(self.paths.tls / "ca.crt"))

        def healthy() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url, verify=trust).status_code == 200
            return False

        wait_for(healthy, "the SuperLink", 120)

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def superlink(root: Path, clients: int = 2, **settings: Any) -> Iterator[Rig]:
    """A rig whose SuperLink answers."""
    with Rig(root, clients, settings) as rig:
        rig.start_superlink()
        rig.wait_superlink()
        yield rig
