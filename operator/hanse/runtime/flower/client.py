"""The ClientApp's side of flwr: version, import, contexts, one call. Used by the trainer (and the version by the gate).

`flwr_version`, `PINNED` and the configs need no flwr: a trainer image with another flwr must be able to say so.
"""

import importlib
import json
import re
import time
import traceback
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hanse.api.runconfig import ClientConfig, InitialConfig

if TYPE_CHECKING:
    from flwr.app import RecordDict
    from flwr.clientapp import ClientApp

    from hanse.runtime.flower.wire import Task

#: As in pyproject.toml; hanse.runtime.flower reaches into internals, which move with every release.
PINNED: Final = "1.41.0"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")

_INITIAL_SECONDS: Final = 600.0

Value = str | int | float | bool
#: For those who may not import flwr.
App: TypeAlias = "ClientApp"


class AppError(Exception):
    """Base of what can be wrong with the app; the text is for its author."""


class VersionMismatch(AppError):
    """The image has another flwr than this version of hanse needs."""


class AppImportError(AppError):
    """The app cannot be imported, or is no ClientApp."""


def flwr_version() -> str:
    """The installed flwr's version, without importing it; empty when there is none."""
    try:
        return version("flwr")
    except PackageNotFoundError:
        return ""


def check_version() -> None:
    """Raise VersionMismatch unless the installed flwr is the pinned one."""
    found = flwr_version()
    if found != PINNED:
        have = f"has flwr {found}" if found else "has no flwr"
        raise VersionMismatch(f"the app's image {have}; hanse needs flwr {PINNED}: install hanse[trainer] in the image")


def load_app(path: str) -> tuple["ClientApp", ModuleType]:
    """Import `module:attribute` and return the ClientApp and its module."""
    from flwr.clientapp import ClientApp

    name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(name)
        app = getattr(module, attribute)
    # An app may raise anything while it is imported, SystemExit too.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise AppImportError(f"{path} cannot be imported:\n{traceback.format_exc()}") from error
    if not isinstance(app, ClientApp):
        raise AppImportError(f"{path} is no flwr.clientapp.ClientApp but {type(app).__name__}")
    return app, module


def convert(config: Mapping[str, str]) -> dict[str, Value]:
    """Run config as Flower apps expect it: bool, int or float where the string is one, else the string."""
    return {key: _convert(value) for key, value in config.items()}


def _convert(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def node_config(config: ClientConfig, data_path: Path) -> dict[str, Value]:
    """What apps written for Flower's own deployments read: their partition and where the data is.

    `privacy` is the PrivacyPlan as JSON, empty without one: apps that clip each record, or count, need it.
    """
    schema = config.dataset.schema_
    return {
        "partition-id": config.index,
        "num-partitions": config.participants,
        "data-path": str(data_path),
        "dataset-schema": json.dumps(schema.to_wire()) if schema else "",
        "privacy": json.dumps(config.privacy.to_wire()) if config.privacy else "",
    }


def context(node: Mapping[str, Value], run: Mapping[str, Value]) -> Any:
    """A Context without a run or state, for the app's `preflight` and `warm`."""
    from flwr.app import Context, RecordDict

    return Context(run_id=0, node_id=0, node_config=dict(node), state=RecordDict(), run_config=dict(run))


def initial_task(config: InitialConfig) -> "Task":
    """The message that asks for the first model where there is no data: no `data-path`, and the plan's seed."""
    from flwr.app import ConfigRecord, RecordDict
    from flwr.app.message import make_message
    from flwr.app.metadata import Metadata

    from hanse.runtime.flower.wire import Task

    node: dict[str, Value] = {
        "partition-id": 0,
        "num-partitions": config.participants,
        "data-path": "",
        "dataset-schema": json.dumps(config.schema_.to_wire()) if config.schema_ else "",
    }
    metadata = Metadata(0, "initial", 0, 0, "", "0", time.time(), _INITIAL_SECONDS, "query.initial")
    content = RecordDict({"config": ConfigRecord({"server-round": 0, "seed": config.seed})})
    run = convert(config.config) | {"seed": config.seed}
    return Task(make_message(metadata=metadata, content=content), context(node, run))


def call(app: "ClientApp", task: "Task") -> "RecordDict":
    """Run the ClientApp on one message and return the content of its reply. Whatever the app raises comes through."""
    from flwr.app import Message
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id = task.context.run_id, task.context.node_id
    reply = app(task.message, task.context)
    if not isinstance(reply, Message):
        raise AppError(f"the app returned {type(reply).__name__} and no Message")
    if reply.has_error():
        raise AppError(f"the app returned an error: {reply.error}")
    return reply.content
