"""The first moments of a child of `hanse run`: ask the kernel to end it with its parent, then become the program.

Started by path with `python -IS`, so it imports nothing of ours: child.py PARENT_PID MODULE [ARGUMENT…].
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by `python -m MODULE ARGUMENT…`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(sys.argv[1]):
            sys.exit(128 + signal.SIGTERM)  # the parent died before the kernel knew
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])  # noqa: S606 -- our own modules


if __name__ == "__main__":
    main()
