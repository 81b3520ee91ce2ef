"""runs.json on the job's volume: which Flower runs there were and how each ended. Written by the launcher alone.

It decides what counts against backoffLimit: a run that neither ended nor was marked as disrupted was lost.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.progress import Progress
from hanse.runtime.durable import replace_file

End = Literal["complete", "failed", "crash", "lost", "disruption"]


class RunEntry(BaseModel):
    """One Flower run."""

    model_config = ConfigDict(extra="forbid")

    flower_run_id: int
    pod: str
    end: End | None = None


class JournalContent(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid")

    job_uid: str
    runs: list[RunEntry] = Field(default_factory=list)
    resumed: int = 0
    exit_code: int | None = None
    result: Progress | None = None


class Journal:
    """The file, read once and written at each change (temporary file, fsync, rename)."""

    def __init__(self, paths: Paths, job_uid: str) -> None:
        self._path = paths.state / "runs.json"
        self.content = self._read(job_uid)

    def _read(self, job_uid: str) -> JournalContent:
        try:
            content = JournalContent.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            # Damaged: the runs cannot be counted any more, which must not stop the job; the checkpoint is elsewhere.
            return JournalContent(job_uid=job_uid)
        return content if content.job_uid == job_uid else JournalContent(job_uid=job_uid)

    @property
    def run(self) -> int:
        """Number of the newest Flower run, from 1."""
        return max(len(self.content.runs), 1)

    @property
    def resumed(self) -> int:
        return self.content.resumed

    @property
    def finished(self) -> ExitCode | None:
        """Exit code of a job that has finished already: the pod died after that, nothing is done again."""
        return None if self.content.exit_code is None else ExitCode(self.content.exit_code)

    def close_lost(self) -> bool:
        """A former pod's run that neither ended nor was marked is lost: it counts as one resume."""
        if not self.content.runs or self.content.runs[-1].end is not None:
            return False
        self.end("lost")
        return True

    def begin(self, flower_run_id: int, pod: str) -> None:
        """A new Flower run."""
        self.content.runs.append(RunEntry(flower_run_id=flower_run_id, pod=pod))
        self._write()

    def end(self, how: End) -> None:
        """The newest run has ended; crashes and losses count, disruptions do not."""
        if self.content.runs and self.content.runs[-1].end is None:
            self.content.runs[-1].end = how
            if how in ("crash", "lost"):
                self.content.resumed += 1
            self._write()

    def finish(self, code: ExitCode, result: Progress) -> None:
        """The job has finished."""
        self.content.exit_code = int(code)
        self.content.result = result
        self._write()

    def _write(self) -> None:
        replace_file(self._path, self.content.model_dump_json().encode())
