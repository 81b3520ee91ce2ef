"""The filter of a job with differential privacy: what leaves is made here, clipped, noised and paid for.

Made by `build` from client.json, called by the session. What the app returns is material: the update is the difference
to the global model that this gate received (unit Silo) or the sum of clipped gradients (unit Record); histograms get
their noise; counts are the owner's declared ones. Neither a loss nor the size of a batch leaves.
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.api.replies import ReplyCode
from hanse.runtime.codec.layout import Layout, Vector
from hanse.runtime.gate.certify import Certifier
from hanse.runtime.gate.checks import Planned, check_reply
from hanse.runtime.gate.content import ArrayView, Content, RecordKind, RecordView
from hanse.runtime.gate.counted import Counted
from hanse.runtime.gate.filter import ARRAYS, NUM_EXAMPLES, Asked, Forward, Ready
from hanse.runtime.gate.histograms import RECORD as HISTOGRAMS
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.models import Models
from hanse.runtime.gate.npy import read_array, view_of
from hanse.runtime.gate.questions import Questions
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.release import Releases
from hanse.runtime.gate.table import PRIVATE
from hanse.runtime.gate.updates import Updates

log = logging.getLogger(__name__)

TRAIN: Final = "train"
EVALUATE: Final = "evaluate"
INITIAL: Final = "query.initial"
STATISTICS: Final = "query.statistics"
UPDATE: Final = "update"
GRID: Final = "grid"

_KINDS: Final = {
    TRAIN: ReleaseKind.TRAIN,
    EVALUATE: ReleaseKind.EVALUATE,
    STATISTICS: ReleaseKind.STATISTICS,
}
_FLOATS: Final = frozenset({"float32", "float64"})


@dataclass(frozen=True)
class Parts:
    """What a private filter is made of."""

    plan: PrivacyPlan
    records: int
    initial: Content
    layout: Layout
    model: dict[str, NDArray[Any]]
    updates: Updates
    counted: Counted
    releases: Releases
    models: Models
    layers: LocalLayers
    questions: Questions
    certifier: Certifier | None = None


@dataclass(frozen=True)
class _Question:
    """A release that is asked for: which, and the global model that it is about."""

    kind: ReleaseKind
    number: int
    digest: str
    version: int = 0
    model: Vector | None = None


class PrivateFilter:
    """See the module's docstring."""

    timed = False

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._plan = parts.plan
        self._open: _Question | None = None
        self._ended = False
        self._certified = False

    def before(self, asked: Asked) -> Forward | Ready:
        """The initial model and bytes that are paid for come from here; anything else that is planned is forwarded."""
        self._open = None
        if asked.kind == INITIAL:
            return Ready(self._parts.initial)
        question = self._question(asked)
        stored = self._parts.releases.again(question.kind, question.number, question.digest)
        if stored is not None:
            log.info("%s of round %d leaves again, with the same noise", question.kind.value, question.number)
            return Ready(self._content(question.kind, stored.payload))
        self._parts.questions.ask(question.kind, question.number)
        self._open = question
        return Forward() if question.model is None else Forward(self._unshared())

    def after(self, asked: Asked, reply: Content) -> Content:
        """The release that is made of the app's reply."""
        question, self._open = self._open, None
        if question is None or _KINDS.get(asked.kind) is not question.kind:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, "nothing was asked of the app")
        check_reply(asked.kind, asked.content, reply, PRIVATE, self._planned(question.kind))
        if question.kind is ReleaseKind.TRAIN:
            payload = self._train(question, reply[ARRAYS])
        else:
            payload = self._parts.counted.release(question.kind, question.number, question.digest, reply[HISTOGRAMS])
        if question.model is not None:
            self._parts.models.accept(question.version, question.model, question.digest)
        return self._content(question.kind, payload)

    def close(self) -> None:
        """The owner gets its certificate; the rest of the reservation goes back, both signed. Raises Refused."""
        if self._parts.certifier is not None:
            self._ended = True
            self._certify(self._parts.certifier)
            self._parts.releases.close(self._parts.certifier.sign)

    def leave(self) -> None:
        """The gate ends, for whatever reason: what it has released is certified, unless it is already."""
        if self._parts.certifier is not None and self._parts.releases.held and not self._certified:
            self._certify(self._parts.certifier)

    def _certify(self, certifier: Certifier) -> None:
        """Without a certificate the account is closed all the same: the ledger has what was released."""
        try:
            self._parts.releases.certify(lambda lease: certifier.certificate(lease, self._ended))
        except (Refused, ValueError, OSError) as error:
            log.error("no certificate: %s", error)
        else:
            self._certified = True

    # -- what is asked

    def _question(self, asked: Asked) -> _Question:
        kind = _KINDS.get(asked.kind)
        if kind is None:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"the plan has no answer to {asked.kind!r}")
        if kind is ReleaseKind.STATISTICS:
            return _Question(kind, 0, "statistics")
        number = asked.round
        if not 1 <= number <= self._plan.rounds:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"the plan has no round {number}")
        model = self._model_of(asked.content)
        version = number if kind is ReleaseKind.TRAIN else number + 1
        return _Question(kind, number, self._parts.models.check(version, model), version, model)

    def _unshared(self) -> dict[str, ArrayView]:
        """Arrays that no update changes: the owner's own, else the first model's; never what the server sends."""
        shared = self._parts.layout.names
        first = {name: view_of(array) for name, array in self._parts.model.items() if name not in shared}
        return {**first, **self._parts.layers.arrays()}

    def _model_of(self, content: Content) -> Vector:
        """The shared arrays of the global model; it must have the arrays of the first one, and nothing beside them."""
        if any(other.kind is RecordKind.ARRAYS and name != ARRAYS for name, other in content.items()):
            raise Refused(ReplyCode.INITIAL_MODEL_MISMATCH, "the server sends arrays that no gate can compare")
        record = content.get(ARRAYS)
        announced = {} if record is None else {name: array.announced[:2] for name, array in record.arrays.items()}
        if record is None or announced != {n: (str(a.dtype), a.shape) for n, a in self._parts.model.items()}:
            raise Refused(ReplyCode.INITIAL_MODEL_MISMATCH, "the global model has other arrays than the first one")
        shared = self._parts.layout.names
        return self._parts.layout.flatten({name: read_array(name, record.arrays[name]) for name in shared})

    # -- what is made of the reply

    def _planned(self, kind: ReleaseKind) -> Planned:
        if kind is ReleaseKind.TRAIN:
            return {n: (a.shape, self._dtypes(n, str(a.dtype))) for n, a in self._parts.model.items()}
        return self._parts.counted.planned(kind)

    def _dtypes(self, name: str, dtype: str) -> frozenset[str]:
        """A sum of gradients may be more precise than the model."""
        if self._plan.unit == "Record" and name in self._parts.layout.names:
            return _FLOATS | {dtype}
        return frozenset({dtype})

    def _train(self, question: _Question, record: RecordView) -> bytes:
        arrays = {name: read_array(name, record.arrays[name]) for name in self._parts.layout.names}
        update = self._parts.layout.flatten(arrays)
        del arrays
        if self._plan.unit == "Silo":
            assert question.model is not None
            update -= question.model
        updates = self._parts.updates

        def make(slot: Slot) -> bytes:
            return updates.encode(update, slot)

        payload = self._parts.releases.release(question.kind, question.number, question.digest, make).payload
        updates.commit()
        if self._plan.unit == "Silo":
            self._parts.layers.keep(record.arrays)
        return payload

    def _content(self, kind: ReleaseKind, payload: bytes) -> Content:
        """A release as records: the same names, shapes and sizes every time."""
        if kind is not ReleaseKind.TRAIN:
            return self._parts.counted.content(kind, payload)
        metrics = RecordView(RecordKind.METRICS, values={NUM_EXAMPLES: self._parts.records})
        return update_record(payload) | {"metrics": metrics}


def update_record(payload: bytes) -> dict[str, RecordView]:
    """The bytes of an update as the one array that the server decodes."""
    return {UPDATE: RecordView(RecordKind.ARRAYS, arrays={GRID: view_of(np.frombuffer(payload, np.uint8))})}
