"""An API server without nodes, for integration tests: etcd and kube-apiserver on free loopback ports.

Used by operator/tests/integration/conftest.py:

    with e2e.cluster.apiserver.running() as server:
        server.kubeconfig  # path; system:masters

Several may run at the same time. Both processes die with the one that started them, however it ends.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, pki
from e2e.cluster.errors import NotReady
from e2e.cluster.kubeapi import KubeApi
from e2e.cluster.proc import wait_for, which

_ATTEMPTS = 3
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ApiServer:
    """A running API server: where to reach it, as whom, and where its logs are."""

    url: str
    kubeconfig: Path
    directory: Path

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of each log."""
        parts = []
        for log in sorted(self.directory.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {log.name}\n" + "\n".join(tail))
        return "\n".join(parts)


@contextmanager
def running(*, extra_args: Sequence[str] = (), timeout: float = 60) -> Iterator[ApiServer]:
    """Start an API server, yield it when it is ready, end it and remove its data.

    Args:
        extra_args: more arguments for kube-apiserver.
        timeout: seconds to become ready.

    Raises:
        NotReady: with the ends of both logs.
    """
    apiserver = binaries.ensure(["kube-apiserver"])["kube-apiserver"]
    etcd = which("etcd")
    for attempt in range(_ATTEMPTS):
        directory = Path(tempfile.mkdtemp(prefix="hanse-apiserver-"))
        processes: list[subprocess.Popen[bytes]] = []
        try:
            try:
                server = _start(directory, processes, str(apiserver), etcd, extra_args, timeout)
            except NotReady:
                # A port that was free when we looked may be taken by now: look again.
                if attempt + 1 == _ATTEMPTS or not _port_was_taken(directory):
                    raise
                continue
            yield server
            return
        finally:
            _stop(processes)
            shutil.rmtree(directory, ignore_errors=True)


def _start(
    directory: Path,
    processes: list[subprocess.Popen[bytes]],
    apiserver: str,
    etcd: str,
    extra_args: Sequence[str],
    timeout: float,
) -> ApiServer:
    clients, peers, secure = _free_ports(3)
    authority = pki.Authority(directory / "pki")
    serving = authority.issue("apiserver", "kube-apiserver", sans=("127.0.0.1", "localhost", "kubernetes.default.svc"))
    admin = authority.issue("admin", "admin", group="system:masters")
    signing = pki.write_signing_key(directory / "pki" / "sa.key")
    url = f"https://127.0.0.1:{secure}"
    server = ApiServer(
        url, pki.write_kubeconfig(directory / "kubeconfig", url, authority.identity.certificate, admin), directory
    )
    processes.append(_spawn(directory, "etcd", [etcd, *etcd_args(directory / "etcd", clients, peers)]))
    processes.append(
        _spawn(
            directory,
            "kube-apiserver",
            [
                apiserver,
                *apiserver_args(
                    etcd_port=clients, port=secure, authority=authority.identity, serving=serving, signing=signing
                ),
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                *extra_args,
            ],
        )
    )
    client = KubeApi(server.kubeconfig)

    def ready_or_dead() -> bool:
        if any(process.poll() is not None for process in processes):
            raise NotReady(f"a process ended at its start\n{server.log_tail()}")
        return client.ready() and client.find("/api/v1/namespaces/default") is not None

    try:
        wait_for("API server ready", ready_or_dead, timeout=timeout)
    except NotReady as error:
        raise NotReady(f"{error}\n{server.log_tail()}") from error
    return server


def etcd_args(data: Path, clients: int, peers: int) -> list[str]:
    """Arguments of an etcd on loopback whose data nobody needs to survive a power failure."""
    client, peer = f"http://127.0.0.1:{clients}", f"http://127.0.0.1:{peers}"
    return [
        "--name=default",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--logger=zap",
        "--log-level=warn",
    ]


def apiserver_args(
    *, etcd_port: int, port: int, authority: pki.Identity, serving: pki.Identity, signing: Path
) -> list[str]:
    """Arguments that every API server of ours has, with nodes or without."""
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--client-ca-file={authority.certificate}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--service-account-key-file={signing}",
        f"--service-account-signing-key-file={signing}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    ]


def _spawn(directory: Path, name: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.kill()
        process.wait()


def _port_was_taken(directory: Path) -> bool:
    return any("address already in use" in log.read_text(errors="replace") for log in directory.glob("*.log"))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def main() -> None:
    """Run one until interrupted (`python -m e2e.cluster.apiserver`), for trying manifests by hand."""
    with running() as server:
        print(json.dumps({"url": server.url, "kubeconfig": str(server.kubeconfig)}), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
