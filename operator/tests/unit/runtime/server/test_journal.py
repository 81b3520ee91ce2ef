"""runs.json: what counts against backoffLimit."""

import datetime
from pathlib import Path

from hanse.api.exitcodes import ExitCode
from hanse.api.paths import Paths
from hanse.api.progress import Progress
from hanse.runtime.server.journal import Journal


def _journal(root: Path, uid: str = "u") -> Journal:
    return Journal(Paths(root), uid)


def test_a_run_that_was_neither_ended_nor_marked_is_lost_and_counts(tmp_path: Path) -> None:
    _journal(tmp_path).begin(7, "pod-1")
    second = _journal(tmp_path)
    assert second.close_lost()
    assert second.resumed == 1
    assert not _journal(tmp_path).close_lost()


def test_a_disruption_does_not_count_and_a_crash_does(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    journal.begin(1, "pod-1")
    journal.end("disruption")
    assert not _journal(tmp_path).close_lost()
    journal.begin(2, "pod-2")
    journal.end("crash")
    assert _journal(tmp_path).resumed == 1
    assert journal.run == 2


def test_an_end_is_written_once(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    journal.begin(1, "pod-1")
    journal.end("crash")
    journal.end("crash")
    assert journal.resumed == 1


def test_a_finished_job_is_remembered_with_its_result(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    assert journal.finished is None
    result = Progress(job_uid="u", sequence=3, phase="Complete", updated_at=datetime.datetime.now(datetime.UTC))
    journal.finish(ExitCode.COMPLETE, result)
    again = _journal(tmp_path)
    assert again.finished == ExitCode.COMPLETE
    assert again.content.result == result


def test_another_jobs_or_a_damaged_journal_is_not_taken_over(tmp_path: Path) -> None:
    _journal(tmp_path).begin(1, "pod-1")
    assert not _journal(tmp_path, "other").close_lost()
    (tmp_path / "var/lib/hanse/runs.json").write_text("{broken")
    assert not _journal(tmp_path).close_lost()
