"""Between what the app returns and what leaves: the seam of the session, and the filter of jobs without privacy.

`private.PrivateFilter` is the other one. A filter sees each message before the trainer does and each reply before the
server does; it raises Refused for what must not pass, and nothing else of it reaches the session.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig
from hanse.runtime.durable import replace_file
from hanse.runtime.gate.checks import check_reply
from hanse.runtime.gate.content import ArrayView, Content, RecordKind, RecordView, outline
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.table import count

NUM_EXAMPLES = "num-examples"
#: The record of the global model in a message, and of the update in a reply.
ARRAYS = "arrays"


@dataclass(frozen=True)
class Asked:
    """One message of the server, as it came."""

    kind: str
    content: Content

    @property
    def round(self) -> int:
        """The round that the server says it is in; 0 when it says none."""
        config = self.content.get("config")
        number = config.values.get("server-round", 0) if config is not None else 0
        return number if isinstance(number, int) and not isinstance(number, bool) else 0

    def bare(self) -> "Asked":
        """The same without the arrays' bytes: models are large, and what the trainer has the gate need not keep."""
        return replace(self, content=outline(self.content))


@dataclass(frozen=True)
class Forward:
    """The trainer is to answer; `arrays` take the place of the model's arrays of those names.

    `records` take the place of whole records, or stand beside those that the server has sent; those of `without` are
    not for the trainer.
    """

    arrays: Mapping[str, ArrayView] = field(default_factory=dict)
    records: Content = field(default_factory=dict)
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ready:
    """The gate answers by itself."""

    content: Content


class Filter(Protocol):
    """What decides on every message and every reply of one job."""

    @property
    def timed(self) -> bool:
        """Whether the server may learn how long the app took; it depends on the data."""
        ...

    def before(self, asked: Asked) -> Forward | Ready:
        """What to do with a message. Raises Refused."""
        ...

    def after(self, asked: Asked, reply: Content) -> Content:
        """What leaves in the place of the app's reply. Raises Refused; `asked` is bare."""
        ...

    def close(self) -> None:
        """The job has ended: nothing leaves any more."""
        ...

    def leave(self) -> None:
        """The gate ends; the job may go on."""
        ...


class OpenFilter:
    """Differential privacy is off: the app's reply leaves as it is, as far as the table allows it.

    Two things are the gate's: layers that are declared personal stay, and the number of records is the first one that
    the app told, whatever it tells later.
    """

    timed = True

    def __init__(self, layers: LocalLayers, counts: "Counts") -> None:
        self._layers = layers
        self._counts = counts

    def before(self, asked: Asked) -> Forward | Ready:
        """The trainer answers everything."""
        return Forward(self._layers.arrays())

    def after(self, asked: Asked, reply: Content) -> Content:
        """The reply without personal layers, with the committed count."""
        check_reply(asked.kind, asked.content, reply)
        category = asked.kind.split(".", 1)[0]
        if category == "query":
            return reply
        return {name: self._record(category, name, record) for name, record in reply.items()}

    def close(self) -> None:
        """Nothing is held."""

    def leave(self) -> None:
        """Nothing is held."""

    def _record(self, category: str, name: str, record: RecordView) -> RecordView:
        if record.kind is RecordKind.METRICS and NUM_EXAMPLES in record.values:
            return replace(record, values=self._counted(category, record.values))
        if record.kind is RecordKind.ARRAYS and name == ARRAYS:
            return replace(record, arrays=self._layers.keep(record.arrays))
        return record

    def _counted(self, category: str, values: Mapping[str, Any]) -> dict[str, Any]:
        told = values[NUM_EXAMPLES]
        if not count(told):
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"{NUM_EXAMPLES} is no number of records")
        return {**values, NUM_EXAMPLES: self._counts.commit(category, told)}


class Counts:
    """How many records there are, for each kind of message: what was said first, also after a restart."""

    def __init__(self, directory: Path, records: int | None) -> None:
        self._path = directory / "counts.json"
        try:
            self._told: dict[str, int] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._told = {}
        if records is not None:
            self._told["train"] = records

    def told(self, category: str) -> int:
        """The count that holds; 0 before there is one."""
        return self._told.get(category, 0)

    def commit(self, category: str, told: int) -> int:
        """The count that holds."""
        if category not in self._told:
            self._told[category] = told
            replace_file(self._path, json.dumps(self._told).encode())
        return self._told[category]


def open_filter(config: ClientConfig, directory: Path) -> OpenFilter:
    """The filter of a job without differential privacy; `directory` is the gate's own."""
    directory.mkdir(parents=True, exist_ok=True)
    return OpenFilter(LocalLayers(directory, config.personal_layers), Counts(directory, config.dataset.records))
