"""Who is let in: a trainer of the same protocol and the same flwr, and nobody before it has said hello."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hanse.api.participation import JobRef
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.runtime.gate.address import gate_address
from hanse.runtime.gate.filter import open_filter
from hanse.runtime.gate.frames import PROTOCOL, Connection, Frame
from hanse.runtime.gate.journal import Journal
from hanse.runtime.gate.loop import Gate, listen
from hanse.runtime.gate.wake import Wake
from tests.unit.runtime.gate.memory_fleet import MemoryFleet

CONFIG = ClientConfig(
    job=JobRef(namespace="consortium", name="credit", uid="00000000-0000-4000-8000-000000000001"),
    participant="bank-a",
    index=0,
    participants=1,
    server_address="server:9443",
    client_app="app:app",
    dataset=ClientDataset(name="loans", path="loans.csv"),
)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[tuple[MemoryFleet, Path]]:
    # Deeper than the 107 bytes of a unix socket's address.
    directory = tmp_path / ("d" * 100) / "shared"
    fleet, wake = MemoryFleet(), Wake()
    listener = listen(directory)
    loop = Gate(CONFIG, open_filter(CONFIG, directory), fleet, Journal(directory), listener, wake, "1.41.0")
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield fleet, directory
    wake.stop()
    thread.join(20)
    assert not thread.is_alive()
    listener.close()


def connect(directory: Path) -> Connection:
    sock = socket.socket(socket.AF_UNIX)
    with gate_address(directory) as address:
        sock.connect(address)
    return Connection(sock)


def hello(connection: Connection, **changes: Any) -> Frame:
    connection.send(Frame("hello", {"protocol": PROTOCOL, "flwr": "1.41.0"} | changes))
    return connection.recv()


def test_a_trainer_is_welcome_and_only_then_the_node_is_online(gate: tuple[MemoryFleet, Path]) -> None:
    fleet, directory = gate
    connection = connect(directory)
    assert not fleet.calls
    assert hello(connection).kind == "welcome"
    assert fleet.online.wait(20)
    connection.close()


def test_another_flwr_is_refused_and_both_versions_are_named(gate: tuple[MemoryFleet, Path]) -> None:
    answer = hello(connect(gate[1]), flwr="1.40.0")
    assert answer.kind == "refused"
    assert "1.40.0" in answer.meta["text"]
    assert "1.41.0" in answer.meta["text"]
    assert not gate[0].calls


def test_another_protocol_is_refused(gate: tuple[MemoryFleet, Path]) -> None:
    assert hello(connect(gate[1]), protocol=99).kind == "refused"


def test_after_a_trainer_has_gone_the_next_is_welcome(gate: tuple[MemoryFleet, Path]) -> None:
    fleet, directory = gate
    first = connect(directory)
    hello(first)
    assert fleet.online.wait(20)
    first.close()
    assert fleet.offline.wait(20)
    second = connect(directory)
    assert hello(second).kind == "welcome"
    second.close()


def test_a_stranger_who_says_nonsense_does_not_stop_the_gate(gate: tuple[MemoryFleet, Path]) -> None:
    stranger = connect(gate[1])
    stranger.send_raw(b"GET / HTTP/1.1\r\n", [])
    stranger.close()
    assert hello(connect(gate[1])).kind == "welcome"


@pytest.mark.parametrize("kind", ["directory", "link", "file"])
def test_what_lies_where_the_socket_belongs_is_replaced(tmp_path: Path, kind: str) -> None:
    """The trainer can write there too; a gate that cannot start would be restarted for ever."""
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    target.write_text("secret")
    target.chmod(0o600)
    path = shared / "gate.sock"
    if kind == "directory":
        (path / "not-empty").mkdir(parents=True)
    elif kind == "link":
        path.symlink_to(target)
    else:
        path.touch()
    with listen(shared):
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o660
    assert target.read_text() == "secret"
    assert target.stat().st_mode & 0o777 == 0o600
