"""Progress on its way out: the newest whole state as a file, as the termination message, and pushed to the operator.

Used by the launcher. Losing progress never fails a job: every error here is logged and forgotten.
"""

import contextlib
import datetime
import logging
import os
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from hanse.api.conditions import Reason
from hanse.api.meta import clip_message
from hanse.api.paths import Paths
from hanse.api.progress import Progress, ProgressReply
from hanse.api.runconfig import RunConfig
from hanse.runtime.lost import write_lost
from hanse.runtime.progress_push import Pusher

_log = logging.getLogger("hanse.progress")


class ProgressHub:
    """Holds the newest state; what the launcher knows (pod, run, resumes, sequence) is stamped on each."""

    def __init__(self, paths: Paths, config: RunConfig, pod: str) -> None:
        self._paths = paths
        self._pod = pod
        self._run, self._resumed, self._sequence = 1, 0, 0
        self._lost: list[str] = []
        self._pusher = None if config.progress is None else Pusher(config.progress.url, paths, heard=self._hear)
        self.newest = Progress(
            job_uid=config.job.uid, sequence=0, total=config.rounds, updated_at=datetime.datetime.now(datetime.UTC)
        )

    def __enter__(self) -> Self:
        if self._pusher is not None:
            self._pusher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pusher is not None:
            self._pusher.finish()

    def receive(self, line: bytes) -> None:
        """A state from the aggregator."""
        try:
            self._set(Progress.model_validate_json(line))
        except ValidationError as error:
            _log.warning("unreadable progress: %s", error)

    def stamp(self, *, run: int, resumed: int, message: str | None = None) -> None:
        """What the launcher knows has changed."""
        self._run, self._resumed = run, resumed
        self._set(self.newest if message is None else self.newest.model_copy(update={"message": clip_message(message)}))

    def fail(self, reason: Reason, message: str) -> None:
        """The job has failed outside of the aggregator."""
        changes = {"phase": "Failed", "reason": str(reason), "message": clip_message(message)}
        self._set(self.newest.model_copy(update=changes))

    def adopt(self, result: Progress) -> None:
        """The state of a job that had finished before this pod started."""
        self._run, self._resumed = result.run, result.resumed
        self._set(result)

    def _hear(self, reply: ProgressReply) -> None:
        """The operator's answer; called in the pusher's thread."""
        if reply.lost != self._lost:
            self._lost = reply.lost
            write_lost(self._paths, reply.lost)

    def _set(self, progress: Progress) -> None:
        self._sequence += 1
        self.newest = progress.model_copy(
            update={
                "sequence": self._sequence,
                "pod": self._pod,
                "run": self._run,
                "resumed": self._resumed,
                "updated_at": datetime.datetime.now(datetime.UTC),
            }
        )
        self._write_files()
        if self._pusher is not None:
            self._pusher.push(self.newest)

    def _write_files(self) -> None:
        """progress.json for `hanse run` and for people in the pod; the termination message for the operator."""
        try:
            temporary = self._paths.shared / "progress.json.tmp"
            temporary.write_text(self.newest.to_json())
            temporary.replace(self._paths.shared / "progress.json")
            # The kubelet mounts a file here: it is overwritten in place, never renamed.
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self._paths.termination_log, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o644)
                with os.fdopen(descriptor, "w") as file:
                    file.write(self.newest.to_termination_message())
        except OSError as error:
            _log.warning("progress was not written: %s", error)
