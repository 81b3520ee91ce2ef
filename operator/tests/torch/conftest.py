"""Calls a ClientApp as the trainer does: a message, a context, the content of the reply.

torch is in the trainer's image: `scripts/lib/in-trainer.sh python3 -m pytest operator/tests/torch`; elsewhere nothing
here is collected.
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp

from hanse.api.participant import DatasetSchema

Ask = Callable[..., Any]
collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("torch") is None else []


def context(data: Path, schema: DatasetSchema | None, config: dict[str, Any], partition: int = 0) -> Context:
    node = {
        "partition-id": partition,
        "num-partitions": 2,
        "data-path": str(data),
        "dataset-schema": schema.model_dump_json() if schema else "",
    }
    return Context(run_id=1, node_id=1, node_config=node, state=RecordDict(), run_config=config)


def ask(app: ClientApp, kind: str, where: Context, **records: Any) -> Any:
    metadata = Metadata(1, "message", 1, 2, "", "", time.time(), 3600.0, kind)
    return app(Message(RecordDict(records), metadata=metadata), where).content  # type: ignore[call-overload]


@pytest.fixture(name="ask")
def _ask() -> Ask:
    return ask


@pytest.fixture(name="context")
def _context() -> Callable[..., Context]:
    return context


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.torch)
