"""PID 1 of the trainer's container: takes messages from the gate, forks a child for each, reports how it ended.

Called by hanse.runtime.trainer.main. It alone ends the pod: 0 only after the end-of-job message. Plain blocking code
around one selector: an event loop would be inherited by every child, and an app may want one of its own.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from types import FrameType
from typing import Final

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig
from hanse.runtime.gate.frames import Connection, Frame, FrameError
from hanse.runtime.reaper import adopt_orphans, kill_orphans, reap
from hanse.runtime.trainer import child
from hanse.runtime.trainer.child import Child
from hanse.runtime.trainer.errors import GateGone, TrainerExit
from hanse.runtime.trainer.link import connect
from hanse.runtime.trainer.memory import oom_kills
from hanse.runtime.trainer.startup import Ready

log = logging.getLogger(__name__)

CONNECT_FIRST: Final = 0.02
CONNECT_MOST: Final = 0.5
#: How long a leaving trainer waits until the gate has answered the message in flight; a drain allows 5 s.
LEAVE_SECONDS: Final = 4.0


class Supervisor:
    """See the module's docstring."""

    def __init__(self, config: ClientConfig, paths: Paths, ready: Ready) -> None:
        self._config = config
        self._paths = paths
        self._ready = ready
        self._child: Child | None = None
        self._connection: Connection | None = None
        self._terminated = False
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until the job ends (returns) or the trainer must end (raises TrainerExit)."""
        self._take_signals()
        adopt_orphans()
        child.prepare_to_fork()
        try:
            while True:
                try:
                    self._connect()
                    self._serve()
                    return
                except (GateGone, FrameError) as error:
                    log.warning("gate: %s", error)
                    self._disconnect()
        except TrainerExit as end:
            self._leave(end)
            raise
        finally:
            self._drop_child()

    def _take_signals(self) -> None:
        for sock in (self._woken, self._waker):
            sock.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_terminate)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._terminated = True

    def _connect(self) -> None:
        """Find the gate. It may not have started yet, or be restarting."""
        pause, since = CONNECT_FIRST, time.monotonic()
        while (found := connect(self._paths.shared)) is None:
            if time.monotonic() - since > self._config.server_lost_seconds:
                raise TrainerExit(ExitCode.GATE_FAILED, "the gate has not been there for serverLostSeconds")
            self._wait(pause)
            pause = min(pause * 2, CONNECT_MOST)
        connection, answer = found
        if answer.kind != "welcome":
            connection.close()
            raise TrainerExit(ExitCode.FLOWER_VERSION_MISMATCH, str(answer.meta.get("text", "refused by the gate")))
        self._connection = connection
        self._selector.register(connection, selectors.EVENT_READ)
        log.info("connected to the gate")

    def _serve(self) -> None:
        """Messages until the end-of-job message."""
        while True:
            frame = self._wait(None)
            if frame is None:
                continue
            if frame.kind == "message":
                self._begin(frame)
            elif frame.kind == "cancel":
                log.warning("message %s is cancelled", frame.meta.get("id"))
                self._drop_child()
            elif frame.kind == "end":
                log.info("the job has ended: %s", frame.meta.get("outcome"))
                return
            elif frame.kind == "lost":
                raise TrainerExit(ExitCode.SERVER_LOST, str(frame.meta.get("text")))
            elif frame.kind == "left":
                raise GateGone("the gate is stopping")

    def _begin(self, frame: Frame) -> None:
        self._drop_child()
        mine = [self._woken.fileno(), self._waker.fileno()]
        if self._connection is not None:
            mine.append(self._connection.fileno())
        self._child = child.start(self._ready.app, frame, self._ready.configs, mine, oom_kills())
        frame.blobs = ()  # the child has its own

    def _wait(self, seconds: float | None) -> Frame | None:
        """Until the gate sends a frame (returned), a child ends (dealt with), or `seconds` are over."""
        ready = {key.fileobj for key, _ in self._selector.select(seconds)}
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
        if self._terminated:
            raise TrainerExit(ExitCode.DRAINED, "told to stop (SIGTERM)", ReplyCode.DRAINED)
        for pid, status in reap():
            if self._child is not None and pid == self._child.pid:
                self._finish(self._child, status)
        if self._connection is not None and self._connection in ready:
            return self._connection.recv()
        return None

    def _finish(self, ended: Child, status: int) -> None:
        """The child has ended: pass its reply on, or say what became of it."""
        self._child = None
        ended.kill()  # what it started and left behind
        kill_orphans()
        reply = ended.reply() if os.waitstatus_to_exitcode(status) == 0 else None
        code, text = _verdict(reply, status, oom_kills() > ended.oom_kills_before)
        if code in _FATAL:
            raise TrainerExit(_FATAL[code], text, code)
        meta: dict[str, object] = {"id": ended.message_id}
        if code is None and reply is not None:
            self._send(Frame("reply", {**meta, "split": reply.meta["split"]}, reply.blobs))
        else:
            log.warning("%s", text)
            self._send(Frame("reply", {**meta, "code": code}))

    def _send(self, frame: Frame) -> None:
        if self._connection is None:
            raise GateGone("not connected")
        self._connection.send(frame)

    def _leave(self, end: TrainerExit) -> None:
        """Let the gate answer the message in flight and take the node offline before we go."""
        self._drop_child()
        connection = self._connection
        if connection is None or end.code is ExitCode.SERVER_LOST:
            return
        deadline = time.monotonic() + LEAVE_SECONDS
        try:
            connection.send(Frame("leave", {"code": end.reply}))
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                while selector.select(max(0.0, deadline - time.monotonic())):
                    if connection.recv().kind == "left":
                        return
            log.warning("the gate did not take leave in time")
        except FrameError as error:
            log.warning("gate: %s", error)

    def _drop_child(self) -> None:
        """Kill a child whose reply nobody wants, and wait for it: its memory must be free before the next."""
        dropped, self._child = self._child, None
        if dropped is not None:
            dropped.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(dropped.pid, 0)
            os.close(dropped.memory)
            kill_orphans()

    def _disconnect(self) -> None:
        self._drop_child()
        if self._connection is not None:
            self._selector.unregister(self._connection)
            self._connection.close()
            self._connection = None


#: After these the next message would end the same way.
_FATAL: Final = {
    ReplyCode.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    ReplyCode.DATASET_INVALID: ExitCode.DATASET_INVALID,
}


def _verdict(reply: Frame | None, status: int, oom: bool) -> tuple[ReplyCode | None, str]:
    """How a child ended: None for a reply with content, else a code and a text for the owner."""
    if reply is not None and "code" not in reply.meta:
        return None, ""
    if oom:
        return ReplyCode.OUT_OF_MEMORY, "the app was killed for memory: raise the trainer's memory limit"
    if reply is not None:
        return ReplyCode(reply.meta["code"]), str(reply.meta.get("text", "the app raised an error"))
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return ReplyCode.TRAINER_DIED, f"the app {how} before it returned a reply"
