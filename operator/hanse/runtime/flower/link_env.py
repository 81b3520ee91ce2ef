"""The environment that keeps Flower from calling out. Set before flwr is imported, by each program that imports it."""

from collections.abc import MutableMapping
from pathlib import Path

#: Telemetry, update check and `uv sync` at run time stay off: nothing calls out, nothing is installed.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def quiet_environment(environment: MutableMapping[str, str], scratch: Path) -> None:
    """Set what keeps Flower quiet; its home goes to `scratch`, because the root file system is read-only."""
    environment.update(QUIET)
    environment["FLWR_HOME"] = str(scratch / "flwr")
