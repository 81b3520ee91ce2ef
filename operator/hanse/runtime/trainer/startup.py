"""What a trainer does before it serves: version, app, dataset, the app's own checks. Every failure has its exit code.

Called by hanse.runtime.trainer.main; `check_app` alone is what the init container without data runs.
"""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.runconfig import ClientConfig
from hanse.runtime.apps import ConfigError, DatasetError
from hanse.runtime.flower import client
from hanse.runtime.trainer.errors import TrainerExit

if TYPE_CHECKING:
    from hanse.runtime.flower.wire import Configs


@dataclass(frozen=True)
class Ready:
    """An app that can be called."""

    app: client.App
    configs: "Configs"


def check_app(path: str) -> tuple[client.App, ModuleType]:
    """The imported app `module:attribute`. Raises TrainerExit with FLOWER_VERSION_MISMATCH or APP_IMPORT_FAILED."""
    try:
        client.check_version()
        return client.load_app(path)
    except client.VersionMismatch as error:
        raise TrainerExit(ExitCode.FLOWER_VERSION_MISMATCH, str(error)) from error
    except client.AppImportError as error:
        raise TrainerExit(ExitCode.APP_IMPORT_FAILED, str(error)) from error


def data_path(config: ClientConfig, paths: Paths) -> Path:
    """The dataset's absolute path. Raises TrainerExit with DATASET_NOT_FOUND."""
    path = paths.data / config.dataset.path
    named = f"dataset {config.dataset.name}: {config.dataset.path}"
    if ".." in Path(config.dataset.path).parts or Path(config.dataset.path).is_absolute():
        raise TrainerExit(ExitCode.DATASET_NOT_FOUND, f"{named} leads out of the volume")
    if not path.exists():
        raise TrainerExit(ExitCode.DATASET_NOT_FOUND, f"{named} is not in the volume")
    if not os.access(path, os.R_OK):
        raise TrainerExit(ExitCode.DATASET_NOT_FOUND, f"{named} cannot be read by user {os.getuid()}")
    return path.absolute()


def get_ready(config: ClientConfig, paths: Paths) -> Ready:
    """Check everything that can be wrong before round 1, and let the app read its data once."""
    app, module = check_app(config.client_app)
    from hanse.runtime.flower.wire import Configs

    configs = Configs(client.node_config(config, data_path(config, paths)), client.convert(config.config))
    context = client.context(configs.node, configs.run)
    for hook in ("preflight", "warm"):
        function = getattr(module, hook, None)
        if callable(function):
            _call_hook(hook, partial(function, context))
    return Ready(app, configs)


def _call_hook(name: str, hook: Callable[[], object]) -> None:
    try:
        hook()
    except DatasetError as error:
        raise TrainerExit(ExitCode.DATASET_INVALID, str(error)) from error
    except ConfigError as error:
        raise TrainerExit(ExitCode.CONFIG_INVALID, str(error)) from error
    except MemoryError as error:
        raise TrainerExit(ExitCode.OUT_OF_MEMORY, f"the app's {name} ran out of memory") from error
    # The app is a stranger's code; what it raises beside our errors is a fault of the app, shown with its traceback.
    except Exception as error:
        text = f"the app's {name} failed:\n{traceback.format_exc()}"
        raise TrainerExit(ExitCode.DATASET_INVALID, text) from error
