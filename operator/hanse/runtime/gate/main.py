"""Entry of `python3 -m hanse.runtime.gate [--root DIR]`: the SuperNode with the seam on its way out."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import ClientConfig

if TYPE_CHECKING:
    from hanse.runtime.gate.filter import Filter

log = logging.getLogger("hanse.gate")


def main(arguments: list[str] | None = None) -> int:
    """Run the gate; the exit code is for the operator's crash-loop message only, a sidecar never ends the pod."""
    parser = argparse.ArgumentParser(prog="hanse.runtime.gate", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="directory that stands for /")
    paths = Paths(parser.parse_args(arguments).root)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s gate %(message)s", stream=sys.stderr)
    # httpx logs every request at INFO; we poll.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        config = ClientConfig.model_validate_json(paths.client_config.read_text())
        return _run(paths, config)
    except (OSError, ValidationError, ValueError) as error:
        log.error("the gate cannot start: %s", error)
        return ExitCode.CONFIG_INVALID


def _run(paths: Paths, config: ClientConfig) -> int:
    # Imported after the environment is set: flwr reads it at import.
    from hanse.runtime.flower.client import flwr_version
    from hanse.runtime.flower.fleet import FleetLink
    from hanse.runtime.gate.journal import Journal
    from hanse.runtime.gate.loop import Gate, listen
    from hanse.runtime.gate.wake import Wake

    wake = Wake()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wake.stop())
    chosen = _filter(config, paths)
    fleet = FleetLink.open(config.server_address, paths)
    journal = Journal(paths.state)
    try:
        Gate(config, chosen, fleet, journal, listen(paths.shared), wake, flwr_version()).run()
    finally:
        chosen.leave()
        fleet.close()
    return ExitCode.COMPLETE


def _filter(config: ClientConfig, paths: Paths) -> "Filter":
    from hanse.runtime.gate.filter import open_filter

    if config.encryption is not None:
        from hanse.runtime.gate.encrypted_build import encrypted_filter

        return encrypted_filter(config, config.encryption, paths)
    if config.privacy is None and config.compression is None:
        return open_filter(config, paths.state)
    # Codec, noise and ledger: only the gates of such jobs pay for them.
    if config.privacy is None:
        from hanse.runtime.gate.compressed import CompressedFilter

        return CompressedFilter(config, paths.state)
    from hanse.runtime.gate.build import private_filter

    return private_filter(config, config.privacy, paths)
