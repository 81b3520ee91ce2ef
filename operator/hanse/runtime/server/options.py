"""Command line and config file that all programs of the server pod share."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig


class ConfigInvalidError(Exception):
    """run.json is missing or wrong. Permanent."""


def read_config(paths: Paths) -> RunConfig:
    """run.json, checked."""
    try:
        return RunConfig.model_validate_json(paths.run_config.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigInvalidError(f"{paths.run_config}: {error}") from error


def options(description: str, *flags: str) -> tuple[Paths, RunConfig]:
    """`--root DIR` and the config below it; exits with CONFIG_INVALID when that is wrong. `flags` are accepted too."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=Path("/"), help="directory that stands for / (default: /)")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    paths = Paths(parser.parse_args().root)
    try:
        return paths, read_config(paths)
    except ConfigInvalidError as error:
        print(error, flush=True)
        raise SystemExit(int(ExitCode.CONFIG_INVALID)) from error
