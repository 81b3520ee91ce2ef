"""What goes back to the server, as the filter decides it: content or a code, never an exception's words.

Used by the session. It fails closed: whatever goes wrong in a filter, nothing of the app's reply leaves.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hanse.api.replies import ReplyCode
from hanse.runtime.flower import wire
from hanse.runtime.gate.filter import ARRAYS, Asked, Filter, Ready
from hanse.runtime.gate.frames import Frame
from hanse.runtime.gate.refused import Refused

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What goes back to the server: content, or a code. `leaves`: the trainer goes after it."""

    content: wire.RecordDict | None = None
    code: ReplyCode | None = None
    leaves: bool = False


class Decider:
    """A filter over Flower's records."""

    def __init__(self, chosen: Filter) -> None:
        self._filter = chosen

    @property
    def timed(self) -> bool:
        """Whether the server learns how long the app took."""
        return self._filter.timed

    def before(self, kind: str, content: wire.RecordDict) -> Asked | Answer:
        """The gate's own answer, or what the trainer is asked; layers of the owner's are put into `content`."""
        try:
            asked = Asked(kind, wire.view(content))
        except wire.WireError as error:
            log.error("message not understood: %s", error)
            return Answer(code=ReplyCode.UPDATE_MISMATCH)
        decision = _closed(lambda: self._filter.before(asked))
        if isinstance(decision, ReplyCode):
            return Answer(code=decision)
        if isinstance(decision, Ready):
            return Answer(content=wire.build(decision.content))
        if ARRAYS in content.array_records:
            present = content.array_records[ARRAYS]
            own = {name: array for name, array in decision.arrays.items() if name in present}
            wire.replace_arrays(content, ARRAYS, own)
        for name in decision.without & content.keys():
            del content[name]
        for name, record in wire.build(decision.records).items():
            content[name] = record
        return asked.bare()

    def after(self, asked: Asked, content: wire.RecordDict) -> Answer:
        """What leaves in the place of the app's reply; it is built of what was checked, not of what was received."""
        try:
            reply = wire.view(content)
        except wire.WireError as error:
            log.error("reply refused: %s", error)
            return Answer(code=ReplyCode.UPDATE_MISMATCH)
        left = _closed(lambda: self._filter.after(asked, reply))
        return Answer(code=left) if isinstance(left, ReplyCode) else Answer(content=wire.build(left))

    def close(self) -> None:
        """The job has ended. What cannot be closed now runs out by itself."""
        _closed(self._filter.close)


def _closed(call: Callable[[], T]) -> T | ReplyCode:
    try:
        return call()
    except Refused as refused:
        log.error("refused: %s: %s", refused.code.name, refused)
        return refused.code
    # Codec, noise, disk, memory, a bug of ours: none of them may let a reply out, or end the gate.
    except Exception:
        log.exception("the gate failed; nothing leaves")
        return ReplyCode.GATE_FAILED


#: What a trainer may say of itself; the other codes are the gate's own judgement.
_SAID = frozenset(
    {
        ReplyCode.APP_ERROR,
        ReplyCode.TRAINER_DIED,
        ReplyCode.OUT_OF_MEMORY,
        ReplyCode.DRAINED,
        ReplyCode.DATASET_INVALID,
    }
)


def code_of(frame: Frame) -> ReplyCode:
    """The code that a trainer's frame says; anything else is an app's error."""
    try:
        code = ReplyCode(int(frame.meta["code"]))
    except (KeyError, TypeError, ValueError):
        return ReplyCode.APP_ERROR
    return code if code in _SAID else ReplyCode.APP_ERROR
