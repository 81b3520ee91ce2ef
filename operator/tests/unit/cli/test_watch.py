"""`hanse watch` ends with the job, waits for an API server that is away, and fails when the job fails."""

import io
from typing import Any, cast

import pytest
from rich.console import Console

from hanse.cli.errors import ClusterError, RunFailed
from hanse.cli.kube import Cluster
from hanse.cli.screen import Screen
from hanse.cli.watch import watch_job
from tests.unit.cli.samples import job

AWAY = ClusterError("cannot get FederatedJob: the API server does not answer (ConnectError)")
GONE = ClusterError("cannot get FederatedJob: not found")


def state(name: str, **status: Any) -> dict[str, Any]:
    return {**job(), "status": {"summary": {"state": name}, **status}}


class Answers:
    """An API server that gives these answers, one after the other, then the last one for ever."""

    def __init__(self, *answers: dict[str, Any] | ClusterError) -> None:
        self._answers = list(answers)

    def job(self, namespace: str, name: str) -> dict[str, Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ClusterError):
            raise answer
        return answer


def watch(*answers: dict[str, Any] | ClusterError) -> str:
    console = Console(file=io.StringIO(), width=100)
    with Screen(console) as screen:
        watch_job(cast(Cluster, Answers(*answers)), "consortium", "credit", screen, wait=lambda _: None)
    return cast(io.StringIO, console.file).getvalue()


def test_it_ends_with_the_job() -> None:
    text = watch(state("Pending"), state("Running"), state("Complete"))
    assert text.splitlines() == ["credit: Pending", "credit: Running", "credit: Complete"]


def test_an_api_server_that_restarts_is_waited_for() -> None:
    assert watch(state("Running"), AWAY, AWAY, state("Complete")).endswith("credit: Complete\n")


@pytest.mark.parametrize(
    ("answers", "waits"), [((GONE,), 0), ((state("Running"), GONE), 1), ((AWAY,), 60)], ids=["none", "gone", "away"]
)
def test_a_job_that_is_gone_is_an_answer_and_a_server_is_waited_for_a_minute(
    answers: tuple[Any, ...], waits: int
) -> None:
    waited: list[float] = []
    with Screen(Console(file=io.StringIO())) as screen, pytest.raises(ClusterError):
        watch_job(cast(Cluster, Answers(*answers)), "consortium", "credit", screen, wait=waited.append)
    assert len(waited) == waits


def test_a_refused_job_may_heal() -> None:
    assert "Refused" in watch(state("Refused"), state("Complete"))


def test_a_failed_job_fails_the_command_with_its_reason() -> None:
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "OutOfMemory",
        "message": "bank-a",
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }
    with pytest.raises(RunFailed, match="OutOfMemory: bank-a") as error:
        watch(state("Failed", conditions=[failed]))
    assert error.value.exit_code == 1
