"""Container `launcher`: `python3 -m hanse.runtime.server [--root DIR]`."""

import logging
import os
import sys
from pathlib import Path

from hanse.runtime.flower.link_env import quiet_environment
from hanse.runtime.server.options import options


def main() -> int:
    """Set the environment before Flower is imported, then run to the end."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    paths, config = options("Launcher of one job: the main container of the server pod")
    quiet_environment(os.environ, Path(os.environ.get("TMPDIR", "/tmp")))  # noqa: S108 - the pod's own emptyDir
    from hanse.runtime.progress import ProgressHub
    from hanse.runtime.server.children import Supervisor
    from hanse.runtime.server.journal import Journal
    from hanse.runtime.server.launcher import Launcher

    pod = os.environ.get("POD_NAME", "local")
    journal = Journal(paths, config.job.uid)
    with ProgressHub(paths, config, pod) as hub:
        return int(Launcher(paths, config, pod, Supervisor(), journal, hub).run())


if __name__ == "__main__":
    sys.exit(main())
