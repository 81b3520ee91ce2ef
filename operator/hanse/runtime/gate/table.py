"""The one table of what a reply may hold, for each kind of message. Data alone; read by `checks`.

With differential privacy off (OPEN) an update is the app's own array, and its metrics pass as numbers. With it on
(PRIVATE) the app's reply is raw material: nothing of it leaves, what leaves is made by `filter` and has one form.

| message          | OPEN                                     | PRIVATE, from the app           | PRIVATE, leaves     |
|------------------|------------------------------------------|---------------------------------|---------------------|
| train            | arrays as received; metrics              | arrays; its count, train_loss   | update/grid; count  |
| evaluate         | metrics                                  | histograms; its count           | histograms; count   |
| query.initial    | arrays; app {statistics, model}          | is not asked                    | made without data   |
| query.statistics | statistics {count, sums}; schema {names} | histograms                      | histograms; count   |
| query.*          | arrays, metrics                          | refused                         | nothing             |
| an error         | a code                                   | a code                          | a code              |

With encryption the first column holds for evaluate and query.statistics, or the last where the job has differential
privacy; a train reply leaves as ciphertext, a signed statement and the count (`encrypted`).

Whatever is not in the table is refused. No ConfigRecord leaves but the two that say what a model and its columns are
called, and those only with differential privacy off (`app` is made without data where it is on).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hanse.runtime.gate.content import RecordKind

#: Values of MetricRecords: numbers, or short lists of them (sums over the features).
METRIC_NAMES: Final = 64
METRIC_LIST: Final = 8192
NAME_CHARACTERS: Final = 63
#: What describes a model: its layers' sizes and its features' names, as JSON.
MODEL_CHARACTERS: Final = 1 << 20
COLUMN_CHARACTERS: Final = 128
COLUMNS: Final = 4096

Check = Callable[[Any], bool]


class Like(StrEnum):
    """What the arrays of a record must look like."""

    ANY = "any finite numbers"
    RECEIVED = "names, shapes and dtypes of a received record"
    PLANNED = "names, shapes and dtypes that the plan says"


@dataclass(frozen=True)
class RecordRule:
    """A record that may be in a reply. Without `name` any; without `values` any metric; `values` are all that may."""

    kind: RecordKind
    name: str | None = None
    like: Like = Like.ANY
    values: Mapping[str, Check] | None = None
    required: bool = False


def number(value: Any) -> bool:
    """A number that is no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def metric(value: Any) -> bool:
    """What a metric may be: a number or a list of numbers."""
    if isinstance(value, list):
        return len(value) <= METRIC_LIST and all(number(item) for item in value)
    return number(value)


def count(value: Any) -> bool:
    """A number of records."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _text(limit: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _names(value: Any) -> bool:
    column = _text(COLUMN_CHARACTERS)
    return isinstance(value, list) and len(value) <= COLUMNS and all(column(item) for item in value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


Table = Mapping[str, tuple[RecordRule, ...]]

_ANY_METRICS: Final = RecordRule(RecordKind.METRICS)

OPEN: Final[Table] = {
    "train": (RecordRule(RecordKind.ARRAYS, like=Like.RECEIVED), _ANY_METRICS),
    "evaluate": (_ANY_METRICS,),
    "query.initial": (
        RecordRule(RecordKind.ARRAYS),
        RecordRule(RecordKind.CONFIG, "app", values={"statistics": _flag, "model": _text(MODEL_CHARACTERS)}),
    ),
    "query.statistics": (
        RecordRule(RecordKind.METRICS, "statistics"),
        RecordRule(RecordKind.CONFIG, "schema", values={"features": _names, "label": _text(COLUMN_CHARACTERS)}),
    ),
    "query": (RecordRule(RecordKind.ARRAYS), _ANY_METRICS),
}

PRIVATE: Final[Table] = {
    "train": (
        RecordRule(RecordKind.ARRAYS, "arrays", Like.PLANNED, required=True),
        RecordRule(RecordKind.METRICS, "metrics", values={"num-examples": count, "train_loss": number}),
    ),
    "evaluate": (
        RecordRule(RecordKind.ARRAYS, "histograms", Like.PLANNED, required=True),
        RecordRule(RecordKind.METRICS, "metrics", values={"num-examples": count}),
    ),
    "query.statistics": (RecordRule(RecordKind.ARRAYS, "histograms", Like.PLANNED, required=True),),
}

#: Of an encrypted job without differential privacy. What an app says of its training beside the arrays does not leave.
ENCRYPTED: Final[Table] = {
    "train": (RecordRule(RecordKind.ARRAYS, "arrays", Like.PLANNED, required=True), _ANY_METRICS),
    "evaluate": OPEN["evaluate"],
    "query.statistics": OPEN["query.statistics"],
}


def rules_for(table: Table, message_type: str) -> tuple[RecordRule, ...] | None:
    """The rules of a message: those of its exact type, else those of its category (`train.personal` is `train`)."""
    category = message_type.split(".", 1)[0]
    return table.get(message_type, table.get(category))
