"""Is a reply what the table allows? Pure; called by `filter` for every reply, before anything is made of it.

It fails closed: what is not known to be allowed is refused, and every refusal is a code without a word of the app's.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from hanse.api.aggregation import METRIC_PATTERN
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.table import METRIC_NAMES, NAME_CHARACTERS, OPEN, Like, RecordRule, Table, metric, rules_for

__all__ = ["Planned", "Refused", "check_reply"]

_METRIC_NAME: Final = re.compile(METRIC_PATTERN)

#: The arrays of a PLANNED record, no more and no fewer: shape, and the dtypes that it may have.
Planned = Mapping[str, tuple[tuple[int, ...], frozenset[str]]]


def check_reply(
    message_type: str, received: Content, reply: Content, table: Table = OPEN, planned: Planned | None = None
) -> None:
    """Raise Refused unless `table` allows `reply` as the answer to a message of `message_type` that held `received`.

    `planned` are the arrays that a PLANNED record must have, no more and no fewer.
    """
    rules = rules_for(table, message_type)
    if rules is None:
        raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"no reply is allowed to a message of type {message_type!r}")
    met: list[RecordRule] = []
    for name, record in reply.items():
        rule = next((r for r in rules if r.kind is record.kind and r.name in (None, name)), None)
        if rule is None:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"{message_type} reply holds a {record.kind} record too many")
        met.append(rule)
        if record.kind is RecordKind.ARRAYS:
            _check_arrays(name, record, _comparison(rule, name, received, planned))
        else:
            _check_values(record, rule.values)
    if any(rule.required and rule not in met for rule in rules):
        raise Refused(ReplyCode.UPDATE_MISMATCH, f"{message_type} reply lacks a record")


def _comparison(
    rule: RecordRule, name: str, received: Content, planned: Planned | None
) -> Callable[[RecordView], bool]:
    if rule.like is Like.RECEIVED:
        return lambda record: _like_received(name, record, received)
    if rule.like is Like.PLANNED:
        return lambda record: _as_planned(record, planned or {})
    return lambda record: True


def _check_arrays(name: str, record: RecordView, fits: Callable[[RecordView], bool]) -> None:
    # Names and shapes first: of what does not fit not a byte is read.
    if not fits(record):
        raise Refused(ReplyCode.UPDATE_MISMATCH, "arrays differ from what was asked for in name, shape or dtype")
    for key, array in record.arrays.items():
        value = read_array(f"{name}/{key}", array)
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise Refused(ReplyCode.NON_FINITE_UPDATE, f"array {name}/{key} is not finite")


def _like_received(name: str, record: RecordView, received: Content) -> bool:
    """An update has the names, shapes and dtypes of what was received: of the same record, else of any."""
    named = received.get(name)
    if named is not None and named.kind is RecordKind.ARRAYS:
        candidates = [named]
    else:
        candidates = [other for other in received.values() if other.kind is RecordKind.ARRAYS]
    announced = {key: array.announced for key, array in record.arrays.items()}
    return any(announced == {k: a.announced for k, a in candidate.arrays.items()} for candidate in candidates)


def _as_planned(record: RecordView, planned: Planned) -> bool:
    if record.arrays.keys() != planned.keys():
        return False
    return all(
        record.arrays[key].shape == shape and record.arrays[key].dtype in dtypes
        for key, (shape, dtypes) in planned.items()
    )


def _check_values(record: RecordView, allowed: Mapping[str, Callable[[Any], bool]] | None) -> None:
    if len(record.values) > METRIC_NAMES:
        raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"more than {METRIC_NAMES} values")
    for key, value in record.values.items():
        check = metric if allowed is None and _is_metric_name(key) else (allowed or {}).get(key)
        if check is None or not check(value):
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"a {record.kind} record holds what it may not")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, float) and not math.isfinite(item):
                raise Refused(ReplyCode.NON_FINITE_METRIC, "a value is not finite")


def _is_metric_name(key: str) -> bool:
    return len(key) <= NAME_CHARACTERS and _METRIC_NAME.match(key) is not None
