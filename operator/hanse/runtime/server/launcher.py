"""The launcher: PID 1 of the server pod. Registers nodes, starts the Flower run and the aggregator, watches, resumes.

Called by `__main__`. The aggregator that dies is replaced by a new one with a new Flower run from the checkpoint.
"""

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import PERMANENT, ExitCode
from hanse.api.exitcodes import reason_for as reason_of_exit
from hanse.api.paths import Paths
from hanse.api.runconfig import RunConfig
from hanse.runtime.flower.control import Control
from hanse.runtime.flower.events import PIPE_VARIABLE
from hanse.runtime.flower.link import LinkAddress, LinkError, LinkLostError
from hanse.runtime.progress import ProgressHub
from hanse.runtime.server.children import Child, Supervisor
from hanse.runtime.server.journal import Journal

_log = logging.getLogger("hanse.launcher")
#: A SIGTERM leaves the aggregator this long to finish a checkpoint; below the pod's grace period of 10 s.
_DRAIN_SECONDS: Final = 8.0
_GOODBYE_SECONDS: Final = 25.0
_WATCH_SECONDS: Final = 1.0


@dataclass
class Launcher:
    """One server pod's life."""

    paths: Paths
    config: RunConfig
    pod: str
    supervisor: Supervisor
    journal: Journal
    hub: ProgressHub

    def run(self) -> ExitCode:
        """Until the job is finished, given up or drained; the exit code."""
        if (finished := self.journal.finished) is not None:
            if self.journal.content.result is not None:
                self.hub.adopt(self.journal.content.result)
            return finished
        if self.journal.close_lost():
            self._tell("the former server pod was lost")
        while True:
            if self._over_limit():
                return self._give_up()
            code = self._attempt()
            if code is not None:
                return code

    def _attempt(self) -> ExitCode | None:
        """One Flower run; None when it has to be resumed."""
        # It imports Flower while the SuperLink is starting, and waits for the task.
        child = self._spawn()
        try:
            with self._control() as control:
                control.register(self.config.participants)
                run_id = control.start()
                self.journal.begin(run_id, self.pod)
                self.hub.stamp(run=self.journal.run, resumed=self.journal.resumed)
                _log.info("run %d is Flower run %d", self.journal.run, run_id)
                code = self._verdict(self._watch(child))
                if code == ExitCode.COMPLETE or code in PERMANENT:
                    return self._finish(ExitCode(code))
                if self.supervisor.stopping:
                    self.journal.end("disruption")
                    return ExitCode.DRAINED
                self._crashed(code)
                control.stop(run_id)
                return None
        except LinkError as error:
            _log.error("%s", error)
            if self.supervisor.stopping:
                self.journal.end("disruption")
                return ExitCode.DRAINED
            return ExitCode.SERVER_LOST if isinstance(error, LinkLostError) else ExitCode.INTERNAL_ERROR
        finally:
            self._end_child(child)

    def _control(self) -> Control:
        return Control(LinkAddress.of(self.paths, self.config), lambda: self.supervisor.stopping)

    def _spawn(self, *extra: str) -> Child:
        command = [sys.executable, "-m", "hanse.runtime.flower.aggregator", "--root", str(self.paths.root), *extra]
        return self.supervisor.spawn(command, os.environ, PIPE_VARIABLE)

    def _watch(self, child: Child) -> int:
        """Pass the aggregator's progress on until it ends; its exit code. A SIGTERM drains it."""
        deadline: float | None = None
        while child.exit_code is None:
            self.supervisor.wait(child, _WATCH_SECONDS)
            self._take(child)
            if self.supervisor.stopping and deadline is None:
                # First of all: a checkpoint that takes longer than the kubelet waits must not count as a crash.
                self.journal.end("disruption")
                child.signal(signal.SIGTERM)
                deadline = time.monotonic() + _DRAIN_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                child.signal(signal.SIGKILL)
        self._take(child)
        return child.exit_code

    def _verdict(self, code: int) -> int:
        """Exit code 0 without the aggregator's word is no end: the user's ServerApp has left our process (sys.exit)."""
        if code != ExitCode.COMPLETE or self.hub.newest.phase == "Complete":
            return code
        _log.error("the ServerApp ended the process in the middle of the run")
        return ExitCode.DRAINED if self.supervisor.stopping else ExitCode.SERVER_APP_FAILED

    def _take(self, child: Child) -> None:
        """Only the newest of the waiting states counts: each is whole."""
        if lines := child.lines():
            self.hub.receive(lines[-1])

    def _crashed(self, code: int) -> None:
        self.journal.end("crash")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._tell(f"the aggregator died ({how})")

    def _tell(self, what: str) -> None:
        told = f"{what}; resume {self.journal.resumed} of {self.config.backoff_limit} from the checkpoint"
        _log.warning("%s", told)
        self.hub.stamp(run=self.journal.run, resumed=self.journal.resumed, message=told)

    def _over_limit(self) -> bool:
        return self.journal.resumed > self.config.backoff_limit

    def _give_up(self) -> ExitCode:
        """backoffLimit is exceeded: tell the gates, so that the client pods end too."""
        told = f"resumed {self.config.backoff_limit} times already (backoffLimit): see the log of the server pod"
        self.hub.fail(Reason.BACKOFF_LIMIT_EXCEEDED, told)
        child = self._spawn("--goodbye")
        try:
            with self._control() as control:
                control.register(self.config.participants)
                control.start()
                end = time.monotonic() + _GOODBYE_SECONDS
                while child.exit_code is None and time.monotonic() < end and not self.supervisor.stopping:
                    self.supervisor.wait(child, _WATCH_SECONDS)
                    child.lines()
        except LinkError as error:
            _log.warning("gates were not told: %s", error)
        finally:
            self._end_child(child)
        return self._finish(ExitCode.BACKOFF_LIMIT_EXCEEDED)

    def _finish(self, code: ExitCode) -> ExitCode:
        self.journal.end("complete" if code == ExitCode.COMPLETE else "failed")
        if code != ExitCode.COMPLETE and self.hub.newest.phase != "Failed":
            self.hub.fail(reason_of_exit(code), "see the log of the server pod")
        self.journal.finish(code, self.hub.newest)
        return code

    def _end_child(self, child: Child) -> None:
        """No aggregator outlives its run."""
        child.signal(signal.SIGKILL)
        while child.exit_code is None:
            self.supervisor.wait(child, _WATCH_SECONDS)
        os.close(child.events)
