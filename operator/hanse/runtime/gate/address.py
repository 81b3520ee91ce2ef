"""Where the gate's socket is. Used by gate and trainer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "gate.sock"


@contextmanager
def gate_address(directory: Path) -> Iterator[str]:
    """An address to bind or connect to. A unix socket's path has at most 107 bytes, `hanse run` may be deeper."""
    descriptor = os.open(directory, os.O_PATH)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
