"""The filter of an encrypted job: answers the server's protocol, puts the shared model in, lets ciphertext out.

Made by `encrypted_build`, called by the session; `encrypted_answers` has the messages that need no app. The server
sends no model and gets none: this gate computes it itself from sums that enough gates have agreed on, so there is no
step of a server's to check (`models`, `steps`). Of a training nothing leaves but ciphertext, a signed statement and the
number of records; statistics and evaluation leave as they do without encryption: as the app's metrics, or as noised
histograms where the job has differential privacy.

It fails closed: whatever goes wrong, the server learns a code and nothing leaves.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from hanse.api.privacy import PrivacyPlan, ReleaseKind
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.statements import Contribution
from hanse.runtime.codec import Layout
from hanse.runtime.gate.certify import Certifier
from hanse.runtime.gate.checks import Planned, check_reply
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.counted import Counted
from hanse.runtime.gate.encrypted_answers import Answers, bytes_record, text_record
from hanse.runtime.gate.encrypted_errors import refusing
from hanse.runtime.gate.encrypted_keys import JobKey
from hanse.runtime.gate.encrypted_model import HeldModel
from hanse.runtime.gate.encrypted_release import Leaving
from hanse.runtime.gate.encrypted_round import Rounds
from hanse.runtime.gate.encrypted_told import Told, told_digest
from hanse.runtime.gate.filter import ARRAYS, NUM_EXAMPLES, Asked, Counts, Forward, OpenFilter, Ready
from hanse.runtime.gate.histograms import RECORD as HISTOGRAMS
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.npy import read_array, view_of
from hanse.runtime.gate.private import EVALUATE, INITIAL, STATISTICS, TRAIN
from hanse.runtime.gate.questions import Questions
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.release import Releases
from hanse.runtime.gate.table import ENCRYPTED, PRIVATE, count

log = logging.getLogger(__name__)

_FLOATS: Final = frozenset({"float32", "float64"})
_APP: Final = "app"
_POINTS: Final = "points"


@dataclass(frozen=True)
class Account:
    """What a job with differential privacy has beside: the ledger, noised counts, a certificate at the end."""

    plan: PrivacyPlan
    releases: Releases
    counted: Counted
    certifier: Certifier | None


@dataclass(frozen=True)
class Parts:
    """What an encrypted filter is made of.

    `app` is what the app says of its model, `first` the first model, whole; `account` is None without privacy.
    """

    answers: Answers
    app: RecordView | None
    first: dict[str, NDArray[Any]]
    layout: Layout
    key: JobKey
    held: HeldModel
    rounds: Rounds
    leaving: Leaving
    layers: LocalLayers
    counts: Counts
    questions: Questions
    told: Told
    account: Account | None
    close: Callable[[], None]


class EncryptedFilter:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._open: tuple[str, ReleaseKind, int, str] | None = None
        self._plain = OpenFilter(parts.layers, parts.counts)
        self._ended = self._certified = False

    @property
    def timed(self) -> bool:
        """How long the app takes depends on the data."""
        return self._parts.account is None

    def before(self, asked: Asked) -> Forward | Ready:
        """The protocol's messages are answered here; training, evaluation and statistics go to the app."""
        self._open = None
        with refusing():
            answer = self._parts.answers.to(asked.kind)
            if answer is not None:
                return Ready(answer(asked.content))
            if asked.kind == INITIAL:
                return Ready(self._initial())
            if asked.kind == TRAIN:
                return self._before_train(asked)
            if asked.kind == EVALUATE:
                return self._before_evaluate(asked)
            if asked.kind == STATISTICS:
                forward = Forward(without=frozenset(asked.content.keys() - self._told(asked).keys()))
                return self._ask(asked.kind, ReleaseKind.STATISTICS, 0, "statistics", forward)
        raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"an encrypted job has no answer to {asked.kind!r}")

    def after(self, asked: Asked, reply: Content) -> Content:
        """What leaves in the place of the app's reply."""
        question, self._open = self._open, None
        if question is None or question[0] != asked.kind:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, "nothing was asked of the app")
        _, kind, number, digest = question
        with refusing():
            if kind is ReleaseKind.TRAIN:
                return self._after_train(number, digest, reply)
            account = self._parts.account
            if account is None:
                check_reply(asked.kind, asked.content, reply, ENCRYPTED)
                return self._plain.after(asked, reply)
            check_reply(asked.kind, asked.content, reply, PRIVATE, account.counted.planned(kind))
            payload = account.counted.release(kind, number, digest, reply[HISTOGRAMS])
            return account.counted.content(kind, payload)

    def close(self) -> None:
        """The job has ended: certificate and what is left of the reservation, both signed. Raises Refused."""
        self._ended = True
        self._parts.close()
        account = self._parts.account
        if account is not None and account.certifier is not None:
            self._certify(account, account.certifier)
            account.releases.close(account.certifier.sign)

    def leave(self) -> None:
        """The gate ends, for whatever reason: what it has released is certified, unless it is already."""
        self._parts.close()
        account = self._parts.account
        if account is not None and account.certifier is not None and account.releases.held and not self._certified:
            self._certify(account, account.certifier)

    def _certify(self, account: Account, certifier: Certifier) -> None:
        """Without a certificate the account is closed all the same: the ledger has what was released."""
        try:
            account.releases.certify(lambda lease: certifier.certificate(lease, self._ended))
        except (Refused, ValueError, OSError) as error:
            log.error("no certificate: %s", error)
        else:
            self._certified = True

    def _initial(self) -> Content:
        """What the app says of its model, and how many points an update has. The arrays stay: every gate made them."""
        points = RecordView(RecordKind.CONFIG, values={_POINTS: self._parts.rounds.points})
        said = {} if self._parts.app is None else {_APP: self._parts.app}
        return {messages.RECORD: points, **said}

    # -- what the app is asked

    def _before_train(self, asked: Asked) -> Forward | Ready:
        parts, request = self._parts, self._parts.answers.read(messages.TrainRequest, asked.content)
        parts.held.absorb(request.commit)
        if parts.leaving.released:
            raise Refused(ReplyCode.RELEASE_REFUSED, "the model has been released: nothing is trained any more")
        number = asked.round
        parts.rounds.check(number)
        parts.key.cipher()
        told = told_digest(self._told(asked))
        again = parts.rounds.again(number, told)
        if again is not None:
            log.info("the update of round %d leaves again", number)
            return Ready(self._contributed(*again))
        if (statistics := asked.content.get("statistics")) is not None and statistics.kind is RecordKind.CONFIG:
            parts.leaving.note(statistics.values)
        parts.told.as_before(self._told(asked))
        parts.questions.ask(ReleaseKind.TRAIN, number)
        self._open = (asked.kind, ReleaseKind.TRAIN, number, told)
        return self._with_model(asked)

    def _before_evaluate(self, asked: Asked) -> Forward | Ready:
        parts, request = self._parts, self._parts.answers.read(messages.EvaluateRequest, asked.content)
        parts.held.absorb(request.commit)
        digest = parts.held.model.digests.model
        if parts.account is None:
            parts.told.evaluate(digest, self._told(asked))
        else:  # one release for a round, and it is paid for
            parts.told.as_before(self._told(asked))
        return self._ask(asked.kind, ReleaseKind.EVALUATE, asked.round, digest, self._with_model(asked))

    def _ask(self, name: str, kind: ReleaseKind, number: int, digest: str, forward: Forward) -> Forward | Ready:
        """Counts that were paid for leave again; else the app is asked."""
        account = self._parts.account
        if account is not None:
            account.counted.planned(kind)
            stored = account.releases.again(kind, number, digest)
            if stored is not None:
                return Ready(account.counted.content(kind, stored.payload))
            self._parts.questions.ask(kind, number)
        self._open = (name, kind, number, digest)
        return forward

    @staticmethod
    def _told(asked: Asked) -> Content:
        """What the app hears of the server's: configs. All who are in one sum must have heard the same."""
        return {n: r for n, r in asked.content.items() if r.kind is RecordKind.CONFIG and n != messages.RECORD}

    def _with_model(self, asked: Asked) -> Forward:
        """The committed model for the trainer, with the owner's own layers; no array that the server sends."""
        model = {name: view_of(array) for name, array in self._parts.held.model.arrays.items()}
        own = {name: array for name, array in self._parts.layers.arrays().items() if name in model}
        record = RecordView(RecordKind.ARRAYS, arrays={**model, **own})
        return Forward(records={ARRAYS: record}, without=frozenset(asked.content.keys() - self._told(asked).keys()))

    def _after_train(self, number: int, told: str, reply: Content) -> Content:
        parts, account = self._parts, self._parts.account
        check_reply(TRAIN, {}, reply, ENCRYPTED if account is None else PRIVATE, self._planned())
        record = reply[ARRAYS]
        arrays = {name: read_array(name, record.arrays[name]) for name in parts.layout.names}
        if account is None:
            self._count(reply)
        contribution, ciphertext = parts.rounds.contribute(number, told, parts.layout.flatten(arrays))
        if account is None or account.plan.unit == "Silo":
            parts.layers.keep(record.arrays)
        return self._contributed(contribution, ciphertext)

    def _count(self, reply: Content) -> None:
        """How many records there are: the owner's declared number, else the first that the app told."""
        for record in reply.values():
            if (told := record.values.get(NUM_EXAMPLES)) is not None:
                if not count(told):
                    raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"{NUM_EXAMPLES} is no number of records")
                self._parts.counts.commit(TRAIN, told)

    def _planned(self) -> Planned:
        """An update has the first model's arrays; a sum of gradients may be more precise."""
        account, shared = self._parts.account, frozenset(self._parts.layout.names)
        wide = _FLOATS if account is not None and account.plan.unit == "Record" else frozenset[str]()
        return {
            name: (array.shape, frozenset({str(array.dtype)}) | (wide if name in shared else frozenset()))
            for name, array in self._parts.first.items()
        }

    def _contributed(self, contribution: Contribution, ciphertext: bytes) -> Content:
        account = self._parts.account
        records = self._parts.counts.told(TRAIN) if account is None else account.counted.records
        counted = RecordView(RecordKind.METRICS, values={NUM_EXAMPLES: records})
        said = text_record(messages.TrainReply(contribution=contribution))
        return said | bytes_record(messages.UPDATE, messages.CIPHERTEXT, ciphertext) | {"metrics": counted}
