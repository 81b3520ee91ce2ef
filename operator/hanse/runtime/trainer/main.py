"""Entry of `python3 -m hanse.runtime.trainer [check] [--root DIR]`.

Without `check`: PID 1 of the trainer's container. With it: the init container that imports the app without the data,
whose words may reach the FederatedJob.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from pydantic import ValidationError

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import CheckConfig, ClientConfig
from hanse.runtime.trainer.errors import TrainerExit

log = logging.getLogger("hanse.trainer")

#: The kubelet keeps 4096 bytes; the end of a traceback is what names the cause.
TERMINATION_BYTES: Final = 3500

M = TypeVar("M", CheckConfig, ClientConfig)


def main(arguments: list[str] | None = None) -> int:
    """Run the trainer, or only check the app; returns an ExitCode."""
    parser = argparse.ArgumentParser(prog="hanse.runtime.trainer", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=("serve", "check"), default="serve")
    parser.add_argument("--root", type=Path, default=Path("/"), help="directory that stands for /")
    parsed = parser.parse_args(arguments)
    paths = Paths(parsed.root.absolute())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s trainer %(message)s", stream=sys.stderr)
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    # PID 1 ignores signals that it has no handler for; until the supervisor runs there is nothing to save.
    signal.signal(signal.SIGTERM, _stopped_early)
    try:
        _run(parsed.mode, paths)
    except TrainerExit as end:
        return _end(paths, end.code, str(end))
    # Our own faults: the operator retries them, a person reads the traceback.
    except Exception:  # noqa: BLE001
        return _end(paths, ExitCode.INTERNAL_ERROR, traceback.format_exc())
    return ExitCode.COMPLETE


def _run(mode: str, paths: Paths) -> None:
    # Imported late: what startup imports takes a second, and a wrong config is known without it.
    if mode == "check":
        check = _read(CheckConfig, paths.check_config)
        from hanse.runtime.trainer.startup import check_app

        app, _ = check_app(check.client_app)
        log.info("%s is a ClientApp", check.client_app)
        if check.initial is not None:
            from hanse.runtime.trainer.initial import make_initial

            make_initial(app, check.initial, paths.initial)
        return
    config = _read(ClientConfig, paths.client_config)
    from hanse.runtime.trainer.startup import get_ready
    from hanse.runtime.trainer.supervisor import Supervisor

    Supervisor(config, paths, get_ready(config, paths)).run()


def _read(model: type[M], path: Path) -> M:
    try:
        return model.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise TrainerExit(ExitCode.CONFIG_INVALID, f"{path.name}: {error}") from error


def _stopped_early(*_: object) -> NoReturn:
    os._exit(ExitCode.DRAINED)


def _end(paths: Paths, code: ExitCode, text: str) -> int:
    """Leave the reason where the kubelet picks it up."""
    log.error("%s: %s", code.name, text)
    tail = text.encode()[-TERMINATION_BYTES:].decode(errors="ignore")
    with contextlib.suppress(OSError):
        paths.termination_log.parent.mkdir(parents=True, exist_ok=True)
        paths.termination_log.write_text(tail)
    return code
