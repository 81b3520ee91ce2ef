"""Wakes the gate's one thread from its waits when it is told to stop. Used by hanse.runtime.gate."""

import select
import socket


class Wake:
    """Stays readable for ever once `stop` was called; may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def stop(self) -> None:
        """Wake whoever waits, now and later."""
        try:
            self._writer.send(b"s")
        except OSError:
            return  # the buffer is full or closed: whoever waits is awake already

    def wait(self, seconds: float) -> bool:
        """Whether we were told to stop, within `seconds`."""
        return bool(select.select([self._reader], [], [], max(0.0, seconds))[0])
