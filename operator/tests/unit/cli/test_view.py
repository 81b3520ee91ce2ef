"""What a person sees of a job, from progress and from status."""

import io
from datetime import timedelta
from typing import Any, cast

import pytest
from rich.console import Console

from hanse.api.job import FederatedJobStatus, JobPrivacy
from hanse.api.progress import EncryptionProgress
from hanse.cli.screen import Screen, live, rounds_table
from hanse.cli.view import History, Member, View, duration, from_progress, from_status, lines, number
from hanse.cli.watch import jobs_table
from tests.unit.cli.samples import NOW, job, progress, round_record


def text_of(renderable: Any, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return cast(io.StringIO, console.file).getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (12.4, "12s"), (59.6, "1m00s"), (340, "5m40s"), (7500, "2h05m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("decimal", "text"), [("0.77123", "0.7712"), ("0", "0.0000"), ("1e-7", "1.000e-07"), ("-3", "-3.0000")]
)
def test_numbers(decimal: str, text: str) -> None:
    assert number(decimal) == text


def test_lines_say_each_thing_once() -> None:
    first = from_progress("credit", progress(phase="WaitingForParticipants", rounds=[], completed=0))
    second = from_progress("credit", progress())
    third = from_progress("credit", progress(rounds=[round_record(2), round_record(1)], completed=2))
    assert lines(None, first) == ["credit: Waiting", "credit: bank-a is ready", "credit: bank-b: NotConnected"]
    assert lines(first, second) == ["credit: Running", "credit: round 1/3  2 updates  1.2s  auc=0.7712 loss=0.5000"]
    assert lines(second, third) == ["credit: round 2/3  2 updates  1.2s  auc=0.7712 loss=0.5000"]
    assert lines(third, third) == []


def test_a_missing_participant_and_a_resume_are_said() -> None:
    record = round_record(1, missing=["bank-b", "bank-c"], reasons={"bank-b": "NonFiniteUpdate"})
    found = lines(None, from_progress("credit", progress(rounds=[record], resumed=1)))
    assert "credit: resumed from the checkpoint (1)" in found
    assert found[-1].endswith("missing: bank-b (NonFiniteUpdate), bank-c")


def test_the_end_is_said_with_its_reason() -> None:
    ended = from_progress("credit", progress(phase="Failed", reason="QuorumLost", message="bank-b left"))
    assert lines(from_progress("credit", progress()), ended) == ["credit: Failed (QuorumLost): bank-b left"]


def test_the_history_keeps_what_progress_drops() -> None:
    history = History()
    history.fill(from_progress("credit", progress(rounds=[round_record(2), round_record(1)])))
    view = history.fill(from_progress("credit", progress(rounds=[round_record(3)])))
    assert [r.number for r in view.rounds] == [1, 2, 3]


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([("Accepted", "False", "NamespaceNotAllowed")], "NamespaceNotAllowed"),
        ([("Accepted", "True", "Accepted"), ("ServerReady", "False", "Unschedulable")], "Unschedulable"),
        ([("FullParticipation", "False", "SubsetOnly"), ("Complete", "True", "Completed")], "Completed"),
        ([("Failed", "True", "OutOfMemory"), ("ServerReady", "False", "Pending")], "OutOfMemory"),
        ([("Failed", "False", "NotFailed")], "-"),
    ],
)
def test_the_condition_that_explains(conditions: list[tuple[str, str, str]], reason: str) -> None:
    wire = {"conditions": [condition(*c, "because") for c in conditions]}
    assert from_status("credit", FederatedJobStatus.model_validate(wire), 20).reason == reason


def test_a_job_without_status_is_pending() -> None:
    view = from_status("credit", FederatedJobStatus(), 20)
    assert (view.state, view.completed, view.total) == ("Pending", 0, 20)


def test_the_live_view_names_participants_and_rounds() -> None:
    text = text_of(live(from_progress("credit", progress(eta_seconds=340))))
    for word in ("credit", "Running", "1/3 rounds", "5m40s left", "bank-b", "NotConnected", "AUC", "0.7712"):
        assert word in text


def test_the_table_of_rounds_has_a_dash_for_a_metric_that_is_missing() -> None:
    view = View("credit", "Running", 2, 3, rounds=(round_record(1), round_record(2, metrics={"auc": "0.8"})))
    last = text_of(rounds_table(view)).splitlines()[2].split()
    assert last == ["2/3", "2", "1.25", "0.8000", "-"]


def test_who_missed_a_round_has_a_column_only_where_somebody_did() -> None:
    complete = View("credit", "Running", 1, 3, rounds=(round_record(1),))
    partial = View("credit", "Running", 1, 3, rounds=(round_record(1, missing=["bank-b"]),))
    assert "MISSING" not in text_of(rounds_table(complete))
    assert "bank-b" in text_of(rounds_table(partial))


def test_of_many_participants_those_that_are_missing_are_shown() -> None:
    members = tuple(Member(f"m{i}", ready=i != 999) for i in range(1024))
    text = text_of(live(View("credit", "Waiting", members=members)))
    assert "m999" in text
    assert "and 1012 more" in text
    assert len(text.splitlines()) < 20


def test_messages_are_no_markup() -> None:
    view = View("credit", "Failed", message="[/red] [bold]", reason="X")
    assert "[/red] [bold]" in text_of(live(view))


def test_without_a_terminal_the_screen_prints_lines() -> None:
    console = Console(file=io.StringIO(), width=40)
    with Screen(console) as screen:
        screen.show(from_progress("credit", progress()))
        screen.show(from_progress("credit", progress(phase="Complete", completed=3)))
    output = cast(io.StringIO, console.file).getvalue().splitlines()
    assert output[0] == "credit: Running"
    assert output[-1] == "credit: Complete"
    assert screen.last is not None
    assert screen.last.ended


def test_the_list_of_jobs() -> None:
    listed = job()
    listed["metadata"]["creationTimestamp"] = "2026-11-22T10:00:00Z"
    listed["status"] = {"summary": {"state": "Running", "round": "12/20", "metric": "auc=0.771"}, "newField": 1}
    listed["status"]["summary"]["epsilon"] = "1.8/3.0"
    row = text_of(jobs_table([listed], NOW + timedelta(minutes=6))).splitlines()[1].split()
    assert row == ["consortium", "credit", "Running", "12/20", "-", "auc=0.771", "1.8/3.0", "-", "-", "-", "6m00s"]


def test_the_key_of_an_encrypted_job_is_said_once_with_its_holders() -> None:
    told = EncryptionProgress(fingerprint="sha256:" + "f" * 64, maker="bank-a", holders=["bank-a", "bank-b"])
    waiting = from_progress("credit", progress(encryption=EncryptionProgress(maker="bank-a")))
    held = from_progress("credit", progress(encryption=told))
    text = "updates are encrypted under key sha256:ffffffffffff of bank-a, held by bank-a, bank-b"
    assert lines(waiting, held) == [f"credit: {text}"]
    assert lines(held, held) == []
    assert text in text_of(live(held))
    lost = from_progress("credit", progress(encryption=told.model_copy(update={"holders": []})))
    assert lines(held, lost) == [
        "credit: updates are encrypted under key sha256:ffffffffffff of bank-a, held by nobody"
    ]
    privacy = JobPrivacy(
        encryption="BFV", key_maker="bank-a", key_fingerprint=told.fingerprint, key_holders=["bank-a", "bank-b"]
    )
    assert from_status("credit", FederatedJobStatus(privacy=privacy), 3).encryption == text
