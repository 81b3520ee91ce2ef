"""The aggregator: takes the place of flower-superexec and flwr-serverapp in one process that stays warm.

Started by the launcher as `python3 -m hanse.runtime.flower.aggregator --root DIR`; events go to the pipe in
HANSE_EVENTS as JSON lines. Its exit code is the launcher's.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import httpx
from flwr.app import Context, Message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, SubStatus
from flwr.common.serde import context_from_proto, run_from_proto
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.exitcodes import reason_for as reason_of_exit
from hanse.api.paths import Paths
from hanse.api.progress import ModelFile
from hanse.api.runconfig import RunConfig
from hanse.runtime.flower.events import EventPipe, model_file
from hanse.runtime.flower.grid import HanseGrid
from hanse.runtime.flower.link import (
    LinkAddress,
    LinkError,
    LinkLostError,
    RunEndedError,
    superexec_client,
    task_client,
    translate,
)
from hanse.runtime.flower.own_app import RoundWatch, load_server_app, run_config
from hanse.runtime.flower.rounds import Federation
from hanse.runtime.flower.rounds_encrypted import EncryptedFederation
from hanse.runtime.flower.rounds_fleet import DrainedError, RunFailedError, SystemClock
from hanse.runtime.flower.rounds_gather import Gathering
from hanse.runtime.flower.rounds_report import Reporter
from hanse.runtime.flower.server_app import GridFleet
from hanse.runtime.lost import read_lost
from hanse.runtime.server.options import options

_TASK_POLL_SECONDS: Final = 0.05
_GOODBYE_SECONDS: Final = 10.0
_log = logging.getLogger("hanse.aggregator")


@dataclass
class Outcome:
    """How the run ended."""

    code: ExitCode
    reason: Reason
    message: str = ""


@dataclass
class Aggregator:
    """One Flower run from its task to its end."""

    paths: Paths
    config: RunConfig
    events: EventPipe
    clock: SystemClock = field(default_factory=SystemClock)
    only_goodbye: bool = False

    def run(self) -> ExitCode:
        """Take the task, run the app (unless all that is left is the goodbye), say goodbye; the exit code."""
        address = LinkAddress.of(self.paths, self.config)
        token = self._acquire(address)
        client = task_client(address, token, self.clock.stop.is_set)
        heartbeat = _Heartbeat(client, self.clock.stop)
        try:
            answer = client.PullTaskInput(PullTaskInputRequest())
            TaskIdentity.task_id = answer.task_id
            TaskIdentity.run_id = answer.run.run_id
            TaskIdentity.node_id = answer.context.node_id
            heartbeat.start()
            context = context_from_proto(answer.context)
            context.run_config = run_config(self.config)
            return self._run_app(client, run_from_proto(answer.run), context)
        except httpx.HTTPError as error:
            raise translate(error) from error
        finally:
            heartbeat.finished.set()
            client.close()

    def _acquire(self, address: LinkAddress) -> str:
        """Wait for the run's task, as flower-superexec does."""
        while not address.secret_file.exists():
            self.clock.sleep(_TASK_POLL_SECONDS)
        with superexec_client(address, self.clock.stop.is_set) as client:
            while True:
                try:
                    answer = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                except httpx.HTTPError as error:
                    self.clock.sleep(0)
                    raise translate(error) from error
                if answer.HasField("task") and answer.token:
                    return answer.token
                self.clock.sleep(_TASK_POLL_SECONDS)

    def _run_app(self, client: RuntimeHttpClient, run: Run, context: Context) -> ExitCode:
        reporter = Reporter(self.config, self.events.progress, self.clock.now)
        grid = HanseGrid(client, run, check=lambda: self.clock.sleep(0))
        fleet = GridFleet(grid, self.config.participants)
        if self.only_goodbye:
            self._goodbye(client, fleet, frozenset(p.index for p in self.config.participants), "Failed", "given up")
            return ExitCode.COMPLETE
        outcome = self._outcome(reporter, grid, fleet, context)
        if outcome.code in (ExitCode.COMPLETE, *_FINAL):
            phase = "Complete" if outcome.code == ExitCode.COMPLETE else "Failed"
            reporter.update(phase=phase, reason=str(outcome.reason), message=outcome.message, round_started_at=None)
            took_part = frozenset(p.index for p in self.config.participants if p.name in reporter.contributed)
            self._goodbye(client, fleet, took_part, phase, outcome.message)
        return outcome.code

    def _outcome(self, reporter: Reporter, grid: HanseGrid, fleet: GridFleet, context: Context) -> Outcome:
        try:
            if self.config.server_app is not None:
                return self._own_app(reporter, grid, fleet, context)
            kind = Federation if self.config.encryption is None else EncryptedFederation
            reason = kind(self.config, self.paths, fleet, self.clock, reporter).run()
            return Outcome(ExitCode.COMPLETE, reason)
        except RunFailedError as error:
            return Outcome(error.code, reason_of_exit(error.code), str(error))

    def _own_app(self, reporter: Reporter, grid: HanseGrid, fleet: GridFleet, context: Context) -> Outcome:
        """The user's own loop on our grid. There is no checkpoint of ours: a resumed run starts their app anew."""
        app = load_server_app(str(self.config.server_app))
        gathering = Gathering(self.config, fleet, self.clock, reporter, partial(read_lost, self.paths))
        gathering.wait_for_start(gathering.everyone)
        reporter.update(phase="Running", round_started_at=self.clock.now())

        rounds = RoundWatch(reporter, self.clock.now, fleet.index_of)

        def watch(messages: Sequence[Message]) -> None:
            if rounds.sent(messages):
                gathering.connected()

        grid.watch, grid.hear = watch, rounds.heard
        try:
            app(grid=grid, context=context)
        except LinkError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            traceback.print_exc()
            return Outcome(
                ExitCode.SERVER_APP_FAILED,
                Reason.SERVER_APP_FAILED,
                f"the ServerApp raised {type(error).__name__}: {error}",
            )
        message = rounds.finish()
        reporter.model = self._own_model()
        return Outcome(ExitCode.COMPLETE, Reason.COMPLETED, message)

    def _own_model(self) -> ModelFile | None:
        """The file that the user's app left at the job's output path, if it did."""
        return model_file(self.paths.output, self.config.output_path)

    def _goodbye(
        self, client: RuntimeHttpClient, fleet: GridFleet, expected: frozenset[int], phase: str, details: str
    ) -> None:
        """End-of-job message, then the end of the Flower run (after which no message is delivered any more)."""
        try:
            count = fleet.end(phase, expected, _GOODBYE_SECONDS)
            _log.info("end of job acknowledged by %d participants", count)
            status = SubStatus.COMPLETED if phase == "Complete" else SubStatus.FAILED
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        except (LinkError, httpx.HTTPError) as error:
            # The result is on disk and told: gates that miss the message leave by themselves (serverLostSeconds).
            _log.warning("goodbye failed: %s", error)


#: Ends that no new run would change. All others leave the gates waiting for the next run.
_FINAL: Final = frozenset(
    {
        ExitCode.QUORUM_NOT_REACHED,
        ExitCode.QUORUM_LOST,
        ExitCode.FEATURE_MISMATCH,
        ExitCode.PARTICIPANT_DROPPED,
        ExitCode.SERVER_APP_FAILED,
        ExitCode.DATASET_INVALID,
        ExitCode.CHECKPOINT_INVALID,
        ExitCode.OUTPUT_FAILED,
        ExitCode.KEY_LOST,
        ExitCode.MODEL_MISMATCH,
        ExitCode.MODEL_NOT_RELEASED,
        ExitCode.APP_IMPORT_FAILED,
    }
)


class _Heartbeat(threading.Thread):
    """Keeps the task alive at the SuperLink. Flower's own sender answers a refusal with SIGINT; ours just ends."""

    def __init__(self, client: RuntimeHttpClient, stop: threading.Event) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._client, self._stop = client, stop
        self.finished = threading.Event()

    def run(self) -> None:
        while not self.finished.is_set() and not self._stop.is_set():
            try:
                if not self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success:
                    return
            except (httpx.HTTPError, RuntimeError):
                # Closed, or refused: the main thread sees the same on its next call.
                return
            self.finished.wait(HEARTBEAT_DEFAULT_INTERVAL / 3)


def die_with_parent() -> None:
    """No aggregator outlives its launcher, however that ends (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def main() -> int:
    """Run to the end; whatever happens becomes an exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    paths, config = options("Aggregator of one job", "--goodbye")
    die_with_parent()
    clock = SystemClock()

    def stop(number: int, frame: FrameType | None) -> None:
        clock.stop.set()

    signal.signal(signal.SIGTERM, stop)
    sys.path.insert(0, str(Path.cwd()))
    started = time.monotonic()
    try:
        code = Aggregator(paths, config, EventPipe.from_environment(os.environ), clock, "--goodbye" in sys.argv).run()
    except DrainedError:
        code = ExitCode.DRAINED
    except LinkLostError as error:
        _log.error("%s", error)
        code = ExitCode.DRAINED if clock.stop.is_set() else ExitCode.SERVER_LOST
    except (RunEndedError, LinkError) as error:
        _log.error("%s", error)
        code = ExitCode.DRAINED if clock.stop.is_set() else ExitCode.INTERNAL_ERROR
    _log.info("aggregator ends after %.1f s: %s", time.monotonic() - started, code.name)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
