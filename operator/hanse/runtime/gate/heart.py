"""The gate's heartbeat: keeps the node online while the trainer works. A thread of hanse.runtime.gate.session."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from hanse.runtime.flower.fleet import HEARTBEAT_INTERVAL, FleetError, NodeUnknown

log = logging.getLogger(__name__)

#: Often enough that two lost heartbeats do not take the node offline (it goes after two intervals).
BEAT_SECONDS: Final = HEARTBEAT_INTERVAL * 0.55
RETRY_SECONDS: Final = 1.0
#: How long going offline waits for a heartbeat that is under way.
HANDOVER_SECONDS: Final = 2.0


class Node(Protocol):
    """What the heart needs of a fleet connection."""

    def activate(self) -> int: ...
    def heartbeat(self) -> None: ...
    def deactivate(self) -> None: ...


class Heart:
    """Sends heartbeats from `start` to `stop`, and knows when the server last answered anything."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._heard = clock()

    def heard(self) -> None:
        """The server has answered."""
        self._heard = self._clock()

    def silence(self) -> float:
        """Seconds since the server last answered."""
        return self._clock() - self._heard

    def start(self) -> None:
        """Begin; the node is active."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and take the node offline so that the server need not wait for missed heartbeats."""
        self._stop.set()
        # A heartbeat under way could activate the node again after we have left; but a dead server is not waited for.
        held = self._lock.acquire(timeout=HANDOVER_SECONDS)
        try:
            if self._thread is not None:
                self._node.deactivate()
        except FleetError as error:
            log.info("could not tell the server that the node goes offline: %s", error)
        finally:
            if held:
                self._lock.release()

    def _run(self) -> None:
        pause = BEAT_SECONDS
        while not self._stop.wait(pause):
            with self._lock:
                pause = BEAT_SECONDS if not self._stop.is_set() and self._beat() else RETRY_SECONDS

    def _beat(self) -> bool:
        try:
            try:
                self._node.heartbeat()
            except NodeUnknown:
                self._node.activate()
                self._node.heartbeat()  # only this shows that the server knows the node now
        except FleetError as error:
            log.warning("heartbeat: %s", error)
            return False
        self.heard()
        return True
