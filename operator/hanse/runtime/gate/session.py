"""One trainer's time with the gate: from its hello until it leaves. Made by hanse.runtime.gate.loop.

The node is online at the server exactly as long as the session lasts, so who the server sees is who can train.
One thread does everything but the heartbeat; one message at a time.
"""

import logging
import math
import selectors
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from hanse.api.replies import ReplyCode
from hanse.api.runconfig import MAX_MESSAGE_BYTES
from hanse.runtime.flower import wire
from hanse.runtime.flower.fleet import FleetError, FleetRefused, Letter, NodeUnknown, Outgoing, RunOver, ServerAway, now
from hanse.runtime.flower.wire_taken import UNKNOWN
from hanse.runtime.gate.answers import Answer, Decider, code_of
from hanse.runtime.gate.filter import Asked, Filter
from hanse.runtime.gate.frames import Connection, ConnectionLost, Frame, MalformedFrame
from hanse.runtime.gate.heart import Heart, Node
from hanse.runtime.gate.journal import Journal
from hanse.runtime.gate.pace import Pace
from hanse.runtime.gate.wake import Wake

log = logging.getLogger(__name__)

END_MESSAGE: Final = "query.hanse_end"
BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 2.0
#: How often a wait for the trainer looks whether the server is still there.
LOOK_SECONDS: Final = 5.0
#: After SIGTERM the last error reply gets this long to leave.
LAST_WORDS_SECONDS: Final = 5.0
#: A pull that took this long was held back by the server: it waits for us, so we need not.
HELD_SECONDS: Final = 0.2

#: What a trainer may send while nothing is asked of it: frames without blobs.
FRAME_LIMIT_IDLE: Final = 0
#: A reply to train or evaluate has arrays as large as the model, and a Context.state with a few of its size (moments,
#: residuals): so many times what was received is plausible, and so much whatever was received.
PLAUSIBLE_TIMES: Final = 8
PLAUSIBLE_BYTES: Final = 64 << 20

T = TypeVar("T")


class Fleet(Node, Protocol):
    """The server, as the session uses it (FleetLink; an in-memory one in tests)."""

    def pull(self, taken: str) -> Letter | None: ...
    def fetch(self, letter: Letter) -> wire.RecordDict | None: ...
    def compose(self, origin: bytes, content: wire.RecordDict | int, seconds: float) -> Outgoing: ...
    def push(self, outgoing: Outgoing) -> None: ...


class SessionOver(Exception):
    """The trainer has left, or the gate is told to stop."""


class ServerLost(SessionOver):
    """The server has been away for serverLostSeconds."""


class Session:
    """See the module's docstring."""

    def __init__(
        self,
        connection: Connection,
        fleet: Fleet,
        journal: Journal,
        wake: Wake,
        chosen: Filter,
        server_lost_seconds: float,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._fleet = fleet
        self._journal = journal
        self._taken = journal.taken()
        self._wake = wake
        self._decider = Decider(chosen)
        self._patience = server_lost_seconds
        self._most = max_message_bytes
        self._limit = FRAME_LIMIT_IDLE
        self._clock = clock
        self._pace = Pace(clock)
        self._heart = Heart(fleet, clock)
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Work until the trainer leaves, the job ends, or the gate stops."""
        try:
            if (outcome := self._journal.ended()) is not None:
                self._decider.close()  # the gate before this one may have been killed before it could
                self._say_goodbye(outcome)
                return
            self._patiently(self._fleet.activate, idle=True)
            self._heart.start()
            log.info("the trainer is ready, the node is online")
            while True:
                self._turn()
        except ServerLost as lost:
            self._tell(Frame("lost", {"text": str(lost)}))
        except SessionOver as over:
            log.info("%s", over)
        except (ConnectionLost, MalformedFrame) as error:
            log.warning("trainer: %s", error)
        finally:
            self._heart.stop()
            self._selector.close()
            self._connection.close()

    def _turn(self) -> None:
        """One poll, and what it brings."""
        asked = self._clock()
        letter = self._patiently(lambda: self._fleet.pull(self._taken), idle=True)
        self._note(letter)
        if letter is not None:
            self._handle(letter)
            self._pace.touch()
        elif self._clock() - asked < HELD_SECONDS:
            self._listen(self._pace.delay())
        else:
            self._listen(0)

    def _note(self, letter: Letter | None) -> None:
        """Before anything is done with it: what the server hears of with the next pull, also if we are killed now."""
        if letter is not None:
            self._journal.take(letter.message_id)
        elif self._taken == UNKNOWN:
            self._journal.join()
        else:
            return
        self._taken = self._journal.taken()

    def _handle(self, letter: Letter) -> None:
        answer, seconds = None, 0.0
        try:
            content = self._fetch(letter)
            if letter.message_type == END_MESSAGE:
                self._end(letter, content)
            started = self._clock()
            asked = self._decider.before(letter.message_type, content)
            blobs = [] if isinstance(asked, Answer) else wire.pack(content)
            del content  # models are large: what the trainer has, the gate need not keep
            answer = asked if isinstance(asked, Answer) else self._ask(letter, blobs, asked)
            seconds = self._clock() - started if self._decider.timed else 0.0
            self._send(letter.origin, answer, seconds, self._clock() + letter.seconds_left(now()))
        except RunOver as over:
            log.info("message %s is dropped: %s", letter.message_id, over)
            self._tell(Frame("cancel", {"id": letter.message_id}))
        except FleetRefused as refused:
            log.error("message %s is lost: %s", letter.message_id, refused)
            self._tell(Frame("cancel", {"id": letter.message_id}))
        if answer is not None and answer.leaves:
            self._leave()

    def _fetch(self, letter: Letter) -> wire.RecordDict:
        """The message's content. The sender may still be uploading it."""
        pause, deadline = 0.01, self._clock() + letter.seconds_left(now())
        while True:
            content = self._patiently(lambda: self._fleet.fetch(letter), deadline=deadline)
            if content is not None:
                return content
            if letter.seconds_left(now()) <= 0:
                raise FleetRefused("its content never came")
            self._wake.wait(pause)
            pause = min(pause * 2, 0.5)

    def _ask(self, letter: Letter, blobs: list[bytes], asked: Asked) -> Answer:
        """Hand the message to the trainer and wait for what it makes of it, until nobody waits for the reply."""
        meta = {"id": letter.message_id, "origin": letter.origin.hex(), "split": len(blobs)}
        self._limit = self._plausible(letter.message_type, sum(map(len, blobs)))
        deadline = self._clock() + letter.seconds_left(now())
        try:
            # A trainer that is leaving may not take it any more; what it said before is still to be read.
            self._tell(Frame("message", meta, [*blobs, *self._journal.state()]))
            blobs.clear()
            while True:
                frame = self._next(deadline)
                if frame is None:
                    self._tell(Frame("cancel", {"id": letter.message_id}))
                    return Answer(code=ReplyCode.ROUND_TIMEOUT)
                if frame.kind == "leave":
                    return Answer(code=code_of(frame), leaves=True)
                if frame.kind == "reply" and frame.meta.get("id") == letter.message_id:
                    return self._judge(asked, frame)
        except (ConnectionLost, MalformedFrame) as error:
            log.warning("the trainer is gone: %s", error)
            return Answer(code=ReplyCode.TRAINER_DIED, leaves=True)
        except ServerLost:
            raise
        except SessionOver:
            return Answer(code=ReplyCode.DRAINED, leaves=True)
        finally:
            self._limit = FRAME_LIMIT_IDLE

    def _plausible(self, message_type: str, received: int) -> int:
        """How many bytes a reply may have. The answer to a query may be a model that nobody has seen before."""
        if message_type.split(".", 1)[0] == "query":
            return self._most
        return min(self._most, received * PLAUSIBLE_TIMES + PLAUSIBLE_BYTES)

    def _next(self, deadline: float) -> Frame | None:
        """The trainer's next frame, or None at the deadline. Raises SessionOver when the gate is told to stop."""
        while (left := deadline - self._clock()) > 0:
            frame = self._receive(min(left, LOOK_SECONDS))
            if frame is not None:
                return frame
            # The heartbeat hears the server; without it nobody will take the reply.
            if self._heart.silence() > self._patience:
                raise ServerLost(self._lost_text("no heartbeat is answered"))
        return None

    def _judge(self, asked: Asked, frame: Frame) -> Answer:
        """Only what passes the filter becomes the answer."""
        if "code" in frame.meta:
            return Answer(code=code_of(frame))
        if frame.dropped:
            log.error("reply refused: with the app's state it is larger than %d bytes", self._limit)
            return Answer(code=ReplyCode.NOT_ALLOWED_IN_REPLY)
        try:
            content, state = wire.unpack_answer(frame.blobs, frame.meta.get("split"))
            self._journal.keep_state(state)
        except wire.WireError as error:
            log.error("reply refused: %s", error)
            return Answer(code=ReplyCode.UPDATE_MISMATCH)
        return self._decider.after(asked, content)

    def _send(self, origin: bytes, answer: Answer, seconds: float, deadline: float) -> None:
        content: wire.RecordDict | ReplyCode
        if answer.content is not None:
            content = answer.content
        else:
            content = answer.code or ReplyCode.APP_ERROR
            log.warning("error reply: %s", content.name)
        outgoing = self._fleet.compose(origin, content, seconds)
        self._patiently(lambda: self._fleet.push(outgoing), deadline=deadline)

    def _end(self, letter: Letter, content: wire.RecordDict) -> None:
        """The end of the job: acknowledge it, then tell the trainer, which ends the pod."""
        records = wire.view(content)
        outcome = str(records["end"].values.get("outcome", "")) if "end" in records else ""
        self._journal.end(outcome)
        try:
            self._fleet.push(self._fleet.compose(letter.origin, wire.RecordDict(), 0.0))
        except FleetError as error:
            # The launcher waits a few seconds for this and then ends all the same.
            log.info("the end was not acknowledged: %s", error)
        self._decider.close()
        self._say_goodbye(outcome)
        raise SessionOver(f"the job has ended: {outcome}")

    def _say_goodbye(self, outcome: str) -> None:
        self._tell(Frame("end", {"outcome": outcome}))

    def _listen(self, seconds: float) -> None:
        """Wait for the next poll; the trainer may leave meanwhile."""
        frame = self._receive(seconds)
        if frame is not None and frame.kind == "leave":
            self._leave()

    def _leave(self) -> None:
        self._heart.stop()
        self._tell(Frame("left"))
        raise SessionOver("the trainer has left")

    def _receive(self, seconds: float) -> Frame | None:
        ready = {key.fileobj for key, _ in self._selector.select(max(0.0, seconds))}
        if self._connection in ready:
            return self._connection.recv(self._limit)
        if self._wake in ready:
            raise SessionOver("told to stop")
        return None

    def _tell(self, frame: Frame) -> None:
        try:
            self._connection.send(frame)
        except ConnectionLost as error:
            log.info("the trainer does not hear %s: %s", frame.kind, error)

    def _patiently(
        self, call: Callable[[], T], *, idle: bool = False, counts: bool = True, deadline: float = math.inf
    ) -> T:
        """Make a call until the server answers.

        `idle`: the trainer is free, so it may leave meanwhile. `counts`: an answer ends the server's silence.
        After `deadline` nobody waits for what the call is about: FleetRefused.
        """
        pause, stop_at = BACKOFF_FIRST, None
        while True:
            try:
                result = call()
                if counts:
                    self._heart.heard()
                return result
            except NodeUnknown as error:
                problem: FleetError = error
                if call != self._fleet.activate:
                    # A server that takes the node and forgets it again, each time, is no better than one that is away.
                    self._patiently(self._fleet.activate, idle=idle, counts=False)
            except ServerAway as error:
                problem = error
            log.warning("server: %s", problem)
            if self._heart.silence() > self._patience:
                raise ServerLost(self._lost_text(str(problem)))
            if self._clock() > deadline:
                raise FleetRefused(f"its time is over: {problem}")
            if idle:
                self._listen(pause)
            elif self._wake.wait(pause):
                stop_at = stop_at or self._clock() + LAST_WORDS_SECONDS
                if self._clock() > stop_at:
                    raise SessionOver("told to stop, the last reply did not get out")
                time.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    def _lost_text(self, problem: str) -> str:
        return f"the server has not answered for {self._heart.silence():.0f} s: {problem}"
