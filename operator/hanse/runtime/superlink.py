"""Container `superlink`: Flower's SuperLink on loopback. Run as `python3 -m hanse.runtime.superlink [--root DIR]`."""

import os
from pathlib import Path

from hanse.runtime.flower.link_env import quiet_environment
from hanse.runtime.server.options import options


def main() -> None:
    """Set the environment before Flower is imported, then serve."""
    paths, config = options("Flower's SuperLink for one job")
    quiet_environment(os.environ, Path(os.environ.get("TMPDIR", "/tmp")))  # noqa: S108 - the pod's own emptyDir
    from hanse.runtime.flower.link_main import serve

    serve(paths, config, os.environ.get("POD_NAME", "local"))


if __name__ == "__main__":
    main()
