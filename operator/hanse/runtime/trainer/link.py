"""The trainer's connection to the gate. Used by hanse.runtime.trainer.supervisor."""

import socket
from pathlib import Path

from hanse.runtime.flower.client import flwr_version
from hanse.runtime.gate.address import gate_address
from hanse.runtime.gate.frames import PROTOCOL, Connection, Frame, FrameError

#: The gate answers a hello at once; it may be in the middle of being killed.
HELLO_SECONDS = 10.0


def connect(directory: Path) -> tuple[Connection, Frame] | None:
    """A connection and the gate's answer to our hello (`welcome` or `refused`); None while no gate listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(HELLO_SECONDS)
        with gate_address(directory) as address:
            sock.connect(address)
        connection = Connection(sock, HELLO_SECONDS)
        connection.send(Frame("hello", {"protocol": PROTOCOL, "flwr": flwr_version()}))
        answer = connection.recv()
        return Connection(sock), answer
    except (OSError, FrameError):
        sock.close()
        return None
