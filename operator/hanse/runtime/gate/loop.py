"""The gate's main loop: waits for the trainer, serves it, waits for the next. Called by hanse.runtime.gate.main.

The gate starts before the trainer (it is a sidecar) and may be killed and restarted while the trainer goes on.
"""

import logging
import os
import secrets
import select
import socket
from pathlib import Path
from typing import Final

from hanse.api.runconfig import ClientConfig
from hanse.runtime.gate.address import SOCKET_NAME, gate_address
from hanse.runtime.gate.filter import Filter
from hanse.runtime.gate.frames import PROTOCOL, Connection, Frame, FrameError
from hanse.runtime.gate.journal import Journal
from hanse.runtime.gate.session import Fleet, Session
from hanse.runtime.gate.wake import Wake

log = logging.getLogger(__name__)

HELLO_SECONDS: Final = 10.0
#: After the end of the job the sidecar is stopped by the kubelet; where nobody does, it ends by itself.
LINGER_SECONDS: Final = 30.0


def listen(directory: Path) -> socket.socket:
    """The socket that the trainer connects to; what a killed gate left, or the trainer has put there, is replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / SOCKET_NAME
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{SOCKET_NAME}-{secrets.token_hex(8)}"))  # it may refuse to be emptied
    else:
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Not chmod: the directory is the trainer's too, the name may be a link to a file of ours by then.
    others = os.umask(0o117)
    try:
        with gate_address(directory) as address:
            listener.bind(address)
    finally:
        os.umask(others)
    listener.listen(1)
    return listener


class Gate:
    """See the module's docstring."""

    def __init__(
        self,
        config: ClientConfig,
        chosen: Filter,
        fleet: Fleet,
        journal: Journal,
        listener: socket.socket,
        wake: Wake,
        flwr: str,
    ) -> None:
        self._config = config
        self._filter = chosen
        self._fleet = fleet
        self._journal = journal
        self._listener = listener
        self._wake = wake
        self._flwr = flwr

    def run(self) -> None:
        """Serve trainers until told to stop."""
        while not self._wake.wait(0):
            linger = LINGER_SECONDS if self._journal.ended() is not None else None
            ready, _, _ = select.select([self._listener.fileno(), self._wake.fileno()], [], [], linger)
            if not ready:
                return
            if self._listener.fileno() in ready:
                connection = self._welcome()
                if connection is not None:
                    patience, limit = self._config.server_lost_seconds, self._config.max_message_bytes
                    Session(connection, self._fleet, self._journal, self._wake, self._filter, patience, limit).serve()

    def _welcome(self) -> Connection | None:
        """The trainer's connection, once it has said hello in words that we understand."""
        sock, _ = self._listener.accept()
        connection = Connection(sock, HELLO_SECONDS)
        try:
            hello = connection.recv(limit=0)
            refusal = self._refusal(hello)
            if refusal is None:
                connection.send(Frame("welcome"))
                return Connection(sock)
            log.error("trainer refused: %s", refusal)
            connection.send(Frame("refused", {"text": refusal}))
        except FrameError as error:
            log.warning("trainer: %s", error)
        connection.close()
        return None

    def _refusal(self, hello: Frame) -> str | None:
        if hello.kind != "hello" or hello.meta.get("protocol") != PROTOCOL:
            return f"the trainer's image has another version of hanse: it speaks protocol {hello.meta.get('protocol')}"
        if hello.meta.get("flwr") != self._flwr:
            return f"the trainer's image has flwr {hello.meta.get('flwr')}, this job runs flwr {self._flwr}"
        return None
