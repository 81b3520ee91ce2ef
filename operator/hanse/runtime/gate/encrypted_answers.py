"""The messages of an encrypted job's protocol that the gate answers without the app. Used by `encrypted`.

`agreement.messages` has the table; what an answer rests on is with the part that makes it.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import Message, read
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.encrypted_keys import JobKey
from hanse.runtime.gate.encrypted_model import HeldModel
from hanse.runtime.gate.encrypted_release import Leaving
from hanse.runtime.gate.encrypted_round import Rounds
from hanse.runtime.gate.npy import read_array, view_of
from hanse.runtime.gate.refused import Refused

M = TypeVar("M", bound=Message)
Answer = Callable[[Content], Content]


class Answers:
    """See the module's docstring. `members` is how many participants the job has: it bounds every text."""

    def __init__(self, members: int, key: JobKey, held: HeldModel, rounds: Rounds, leaving: Leaving) -> None:
        self._members = members
        self._key, self._held, self._rounds, self._leaving = key, held, rounds, leaving
        self._by_kind: dict[str, Answer] = {
            messages.HELLO: self._hello,
            messages.WRAP: self._wrap,
            messages.JOIN: self._join,
            messages.CONFIRMED: self._confirmed,
            messages.VERIFY: self._verify,
            messages.APPLY: self._apply,
            messages.SEAL: self._seal,
            messages.RESTORE: self._restore,
            messages.RELEASE: self._release,
            messages.MODEL: self._model,
        }

    def to(self, kind: str) -> Answer | None:
        """What answers messages of this kind, which raises Refused and others; None for one that is not of these."""
        return self._by_kind.get(kind)

    def read(self, model: type[M], content: Content) -> M:
        """The text of a message. Raises Refused(SIGNATURE_INVALID)."""
        record = content.get(messages.RECORD)
        text = None if record is None or record.kind is not RecordKind.CONFIG else record.values.get(messages.TEXT)
        return read(model, text, self._members)

    def _hello(self, content: Content) -> Content:
        self.read(messages.HelloRequest, content)
        number, model = self._held.reached
        key = self._key
        return text_record(
            messages.HelloReply(
                prekey=key.prekey,
                fingerprint=key.fingerprint,
                epoch=key.epoch,
                confirmed=key.begun,
                round=number,
                model=model,
            )
        )

    def _wrap(self, content: Content) -> Content:
        request = self.read(messages.WrapRequest, content)
        if len(request.recipients) > messages.MOST_ENVELOPES:
            raise Refused(ReplyCode.KEY_REFUSED, f"more than {messages.MOST_ENVELOPES} envelopes in one message")
        statement, envelopes = self._key.wrap(request.recipients)
        return text_record(messages.WrapReply(statement=statement, envelopes=envelopes))

    def _join(self, content: Content) -> Content:
        request, fresh = self.read(messages.JoinRequest, content), not self._key.held
        confirmation = self._key.join(request.statement, request.envelope, request.prekeys)
        if fresh:
            self._held.load()  # a gate that kept its models and lost its key
        return text_record(messages.JoinReply(confirmation=confirmation))

    def _confirmed(self, content: Content) -> Content:
        request = self.read(messages.ConfirmedRequest, content)
        confirmation = self._key.confirmed(request.confirmations, request.prekeys)
        return text_record(messages.ConfirmedReply(confirmation=confirmation))

    def _verify(self, content: Content) -> Content:
        request = self.read(messages.VerifyRequest, content)
        record = content.get(messages.CIPHERTEXTS)
        given = {} if record is None else {name: bytes_of(record, name) for name in record.arrays}
        vote, recomputed = self._rounds.verify(request, given)
        return text_record(messages.VerifyReply(vote=vote, recomputed=recomputed))

    def _apply(self, content: Content) -> Content:
        request = self.read(messages.ApplyRequest, content)
        applied = self._rounds.apply(request, bytes_of(content.get(messages.SUM), messages.SUM))
        said = text_record(messages.ApplyReply(applied=applied))
        if not request.seal:
            return said
        return said | bytes_record(messages.STATE, messages.SEALED, self._held.sealed(applied))

    def _seal(self, content: Content) -> Content:
        request = self.read(messages.SealRequest, content)
        sealed = self._held.sealed_after(request.commit)
        said = text_record(messages.SealReply(round=request.commit.round))
        return said | bytes_record(messages.STATE, messages.SEALED, sealed)

    def _restore(self, content: Content) -> Content:
        request = self.read(messages.RestoreRequest, content)
        self._held.restore(request.commit, bytes_of(content.get(messages.STATE), messages.SEALED))
        return text_record(messages.RestoreReply(round=self._held.reached[0]))

    def _release(self, content: Content) -> Content:
        self._held.absorb(self.read(messages.ReleaseRequest, content).commit)
        return text_record(messages.ReleaseReply(release=self._leaving.release()))

    def _model(self, content: Content) -> Content:
        request = self.read(messages.ModelRequest, content)
        model = self._leaving.model(request)
        said = text_record(messages.ModelReply(model=self._held.model.digests.model))
        if model is None:
            return said
        arrays = {name: view_of(array) for name, array in model.arrays.items()}
        return said | {messages.ARRAYS: RecordView(RecordKind.ARRAYS, arrays=arrays)}


def text_record(message: Message) -> dict[str, RecordView]:
    """A message as it travels."""
    return {messages.RECORD: RecordView(RecordKind.CONFIG, values={messages.TEXT: message.to_text()})}


def bytes_record(record: str, name: str, data: bytes) -> dict[str, RecordView]:
    """Bytes as they travel: a uint8 array."""
    return {record: RecordView(RecordKind.ARRAYS, arrays={name: view_of(np.frombuffer(data, np.uint8))})}


def bytes_of(record: RecordView | None, name: str) -> memoryview:
    """The bytes in a message's array, where they lie: they are large. Raises Refused(CIPHERTEXT_INVALID)."""
    array = None if record is None or record.kind is not RecordKind.ARRAYS else record.arrays.get(name)
    if array is None or array.dtype != "uint8" or len(array.shape) != 1:
        raise Refused(ReplyCode.CIPHERTEXT_INVALID, f"the message lacks the bytes {name}")
    return read_array(name, array).data
