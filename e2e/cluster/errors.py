"""Every way in which a test cluster can fail, as one tree. Raised by all of e2e.cluster, printed by its command line.

ClusterError
├── Unsupported         this back end cannot do that (the message says what to do instead)
├── MissingRequirement  a program, module or right that the host lacks
├── BuildError          a pinned Go module did not build
├── NotRunning          the named cluster does not exist or is down
├── NotReady            it was started and did not become ready in time (the message carries log tails)
└── CommandFailed       a command that we ran ended with an error
"""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(Exception):
    """Something about a test cluster failed; the text is for a person."""


class Unsupported(ClusterError):
    """The back end cannot do this."""


class MissingRequirement(ClusterError):
    """The host lacks something."""


class BuildError(ClusterError):
    """A pinned tool did not build."""


class NotRunning(ClusterError):
    """There is no such cluster, or it is down."""


class NotReady(ClusterError):
    """Started, but not ready in time."""


class CommandFailed(ClusterError):
    """A command ended with an error."""

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.output = output
        super().__init__(f"{' '.join(argv)}: exit code {returncode}\n{output.strip()[-4000:]}")
