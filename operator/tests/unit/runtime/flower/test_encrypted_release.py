"""The end of an encrypted job: the plain model leaves once, with the word of everybody whose update is in it."""

from typing import Any

import numpy as np
import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.aggregation import arrays_digest
from hanse.runtime.aggregation.model import read_model
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Scene, nothing

pytestmark = pytest.mark.protocol


def leaves_before_release(s: Scene, index: int) -> None:
    """The participant goes offline when releases are asked for."""

    def before(question: Question, who: int) -> Answer | None:
        if question.kind == messages.RELEASE:
            s.fleet.online.discard(index)
            if who == index:
                return Answer(failure=Reason.NOT_CONNECTED)
        return None

    s.fleet.before = before


def files(s: Scene) -> list[str]:
    return [path.name for path in (s.root / "server/output").rglob("*") if path.is_file()]


def test_a_contributor_that_is_away_is_waited_for(make: Make) -> None:
    s = make(rounds=2, quorum=2)
    leaves_before_release(s, 2)

    def back() -> None:
        s.fleet.before = nothing
        s.fleet.online.add(2)

    s.clock.at(40, back)
    assert s.run() == Reason.COMPLETED
    assert s.clock.seconds >= 40
    assert files(s) == ["model.safetensors"]
    assert any("p2 (NotConnected)" in p.message for p in s.published)
    assert s.last.message == ""


def test_without_the_word_of_a_contributor_the_model_stays(make: Make) -> None:
    s = make(rounds=2, quorum=2)
    leaves_before_release(s, 2)
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_NOT_RELEASED
    assert "p2 (NotConnected)" in str(caught.value)
    assert "60 s" in str(caught.value)
    assert s.stands()[0][1] in str(caught.value)
    assert files(s) == []
    assert s.federation.state.saved.commit is not None


def test_a_gate_that_refuses_for_good_is_not_waited_for(make: Make) -> None:
    s = make(rounds=1)
    s.fleet.before = lambda q, i: (
        Answer(failure=Reason.RELEASE_REFUSED) if (q.kind, i) == (messages.RELEASE, 1) else None
    )
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_NOT_RELEASED
    assert "p1 (ReleaseRefused)" in str(caught.value)
    assert s.clock.seconds < 10


def test_who_has_contributed_nothing_is_not_asked(make: Make) -> None:
    s = make(rounds=2, quorum=2)
    s.fleet.online = {0, 1}
    assert s.run() == Reason.COMPLETED
    assert s.fleet.rounds(messages.RELEASE) == [(2, (0, 1))]


def test_a_contributor_that_is_replaced_gets_the_model_before_it_releases_it(make: Make) -> None:
    s = make(rounds=2)
    s.replace_at(messages.RELEASE, 2, 2)
    assert s.run() == Reason.COMPLETED
    assert len(s.fleet.rounds(messages.RESTORE)) == 1


def test_a_model_that_is_not_the_released_one_is_not_written(make: Make) -> None:
    s = make(rounds=1)

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.MODEL and index == 0:
            return Answer({n: np.asarray(a) + 1 for n, a in (answer.arrays or {}).items()}, {}, answer.records)
        return answer

    s.fleet.after = after
    assert s.run() == Reason.COMPLETED
    arrays, _ = read_model(s.root / "server/output/model.safetensors")
    assert arrays_digest(arrays) == s.stands()[0][1]
    assert [to for _, to in s.fleet.rounds(messages.MODEL)] == [(0,), (1,)]


def test_to_the_participants_each_gate_writes_its_owners_and_nothing_leaves(make: Make) -> None:
    s = make(rounds=2, model_release="Participants")
    seen: list[Any] = []

    def after(question: Question, index: int, answer: Answer) -> Answer:
        if question.kind == messages.MODEL:
            seen.append(answer.arrays)
        return answer

    s.fleet.after = after
    assert s.run() == Reason.COMPLETED
    for gate in s.fleet.gates:
        [path] = gate.paths.models.glob("*.safetensors")
        arrays, _ = read_model(path)
        assert arrays_digest(arrays) == s.stands()[0][1]
    assert files(s) == []
    assert not any(seen)
    assert s.last.model is None
    assert s.last.rounds[0].model_digest == s.stands()[0][1]


def test_an_owners_volume_that_fails_is_named(make: Make) -> None:
    s = make(rounds=1, model_release="Participants")
    s.fleet.gates[1].paths.models.parent.mkdir(parents=True, exist_ok=True)
    s.fleet.gates[1].paths.models.write_text("a file where a volume should be")
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.MODEL_NOT_RELEASED
    assert "p1 (GateFailed)" in str(caught.value)


def test_never_means_that_nobody_is_asked(make: Make) -> None:
    s = make(rounds=2, model_release="Never")
    assert s.run() == Reason.COMPLETED
    assert s.fleet.rounds(messages.RELEASE) == s.fleet.rounds(messages.MODEL) == []
    assert files(s) == []
    assert s.last.rounds[0].model_digest == s.stands()[0][1]
