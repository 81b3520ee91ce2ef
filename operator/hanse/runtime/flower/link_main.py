"""Start of the SuperLink: Flower's own program with our arguments, the wake-up middleware (`link_wake`), cheaper layers
(`link_scope`) and what a killed gate needs (`link_recover`).

Called by `python3 -m hanse.runtime.superlink`.
"""

import shutil
import sys
from pathlib import Path

from flwr.superlink import extensions
from flwr.superlink import main as superlink_main
from flwr.superlink.cli.flower_superlink import flower_superlink
from starlette.middleware import Middleware

from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig
from hanse.runtime.flower import link_recover
from hanse.runtime.flower.link import ensure_secret, secret_file
from hanse.runtime.flower.link_scope import scoped
from hanse.runtime.flower.link_wake import WakeMiddleware


def arguments(paths: Paths, config: RunConfig, database: Path) -> list[str]:
    """Command line of flower-superlink. TLS and node authentication are always on, isolation is always `process`."""
    return [
        "flower-superlink",
        *("--host", "127.0.0.1"),
        *("--port", str(config.superlink_port)),
        *("--isolation", "process"),
        *("--database", str(database)),
        *("--ssl-ca-certfile", str(paths.tls / "ca.crt")),
        *("--ssl-certfile", str(paths.tls / "tls.crt")),
        *("--ssl-keyfile", str(paths.tls / "tls.key")),
        "--enable-supernode-auth",
        *("--superexec-auth-secret-file", str(secret_file(paths))),
        "--disable-runtime-dependency-installation",
    ]


def prepare(paths: Paths, pod: str) -> Path:
    """The database file of this pod. What former pods left is removed: their runs are over, ours starts a new one."""
    home = paths.state / "superlink"
    mine = home / pod
    mine.mkdir(parents=True, exist_ok=True)
    for other in home.iterdir():
        if other != mine:
            shutil.rmtree(other, ignore_errors=True)
    ensure_secret(secret_file(paths))
    return mine / "superlink.db"


def serve(paths: Paths, config: RunConfig, pod: str) -> None:
    """Run the SuperLink until it is told to stop."""
    sys.argv = arguments(paths, config, prepare(paths, pod))
    link_recover.install()
    # Both are read once, when the application is made: Flower's hook for extensions, and its list of layers.
    extensions.get_middleware = lambda: (Middleware(WakeMiddleware),)
    stock_layers = superlink_main._get_middleware
    superlink_main._get_middleware = lambda: scoped(stock_layers())
    flower_superlink()
