"""One gate's record: what it has said it says again, after a restart too, and nothing else; on disk first."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Ballot, Refused, digest_of
from hanse.runtime.agreement import ballot as module
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.agreement.world import world

JOB = world()
AGREEMENT = JOB.roster.agreement
ONE, TWO, SUM, OTHER, MODEL = (digest_of(word.encode()) for word in ("one", "two", "sum", "other", "model"))
CODE = ReplyCode


@pytest.fixture(params=["same process", "restarted"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Ballot]:
    """The ballot to ask next: the same object, or one that knows only the disk."""
    kept = Ballot(tmp_path, AGREEMENT)
    return (lambda: kept) if request.param == "same process" else (lambda: Ballot(tmp_path, AGREEMENT))


def refused(code: ReplyCode, words: str, act: Callable[[], object]) -> None:
    with pytest.raises(Refused, match=words) as error:
        act()
    assert error.value.code == code


def test_one_list_for_a_round(again: Callable[[], Ballot]) -> None:
    again().vote(1, ONE)
    again().vote(1, ONE)

    refused(CODE.SECOND_SUM, "another list for round 1", lambda: again().vote(1, TWO))
    refused(CODE.SECOND_SUM, "another list for round 1", lambda: again().decide(1, TWO, SUM))
    again().decide(1, ONE, SUM)


def test_one_sum_for_a_round(again: Callable[[], Ballot]) -> None:
    again().decide(1, ONE, SUM)  # also a gate that was away when the others voted
    again().decide(1, ONE, SUM)
    again().vote(1, ONE)

    refused(CODE.SECOND_SUM, "another sum of round 1", lambda: again().decide(1, ONE, OTHER))
    refused(CODE.SECOND_SUM, "another list for round 1", lambda: again().vote(1, TWO))


def test_one_half_for_a_round(again: Callable[[], Ballot]) -> None:
    again().take(1, "Seeds")
    again().take(1, "Seeds")
    again().vote(1, ONE)
    again().decide(1, ONE, SUM)

    refused(CODE.SUM_REFUSED, "has had the seeds of round 1", lambda: again().take(1, "Bodies"))
    again().take(2, "Bodies")
    refused(CODE.STALE_ROUND, "has seen some of round 2", lambda: again().take(1, "Seeds"))


def test_rounds_do_not_go_back(again: Callable[[], Ballot]) -> None:
    again().vote(3, ONE)

    refused(CODE.STALE_ROUND, "a list of round 2, but this gate is in round 3", lambda: again().vote(2, ONE))
    again().decide(3, ONE, SUM)
    again().commit(3, MODEL)
    refused(CODE.STALE_ROUND, "a list of round 3, but this gate is in round 4", lambda: again().decide(3, ONE, SUM))
    refused(CODE.STALE_ROUND, "round 3 is committed, 2 is older", lambda: again().commit(2, MODEL))
    assert again().committed == 3
    again().commit(7, MODEL)
    refused(CODE.STALE_ROUND, "a list of round 7", lambda: again().vote(7, ONE))
    again().vote(8, TWO)


def test_one_model_for_a_round(again: Callable[[], Ballot]) -> None:
    again().commit(1, MODEL)
    again().commit(1, MODEL)

    refused(CODE.MODEL_MISMATCH, "another model was committed for round 1", lambda: again().commit(1, OTHER))


def test_one_key_for_a_job(again: Callable[[], Ballot]) -> None:
    assert again().fingerprint is None
    again().confirm(1, ONE)
    again().confirm(1, ONE)

    refused(CODE.KEY_REFUSED, "another key of epoch 1 was confirmed", lambda: again().confirm(1, TWO))
    refused(CODE.KEY_REFUSED, "another key of epoch 1 was confirmed", lambda: again().confirm(2, ONE))
    assert again().fingerprint == ONE


def test_the_same_list_gives_the_same_signature() -> None:
    signer = JOB.signers["city-a"]

    assert signer.vote(1, ONE) == signer.vote(1, ONE)


@pytest.mark.parametrize(
    "attack",
    [
        ("has taken another list", lambda one: (one.vote(1, ONE), one.vote(1, TWO))),
        ("another sum of round", lambda one: (one.decide(1, ONE, SUM), one.decide(1, ONE, OTHER))),
        ("a list of round", lambda one: (one.vote(2, ONE), one.vote(1, TWO))),
        ("is committed, {round} is older", lambda one: (one.commit(2, MODEL), one.commit(1, MODEL))),
        ("another model was committed", lambda one: (one.commit(1, MODEL), one.commit(1, OTHER))),
        ("another key of epoch", lambda one: (one.confirm(1, ONE), one.confirm(1, TWO))),
    ],
    ids=lambda attack: attack[0],
)
def test_each_refusal_is_all_that_stands_in_the_way(
    tmp_path: Path, attack: tuple[str, Callable[[Ballot], object]]
) -> None:
    with pytest.raises(Refused):
        attack[1](Ballot(tmp_path / "real", AGREEMENT))
    attack[1](without(module, attack[0]).Ballot(tmp_path / "mutant", AGREEMENT))


def test_nothing_is_said_that_is_not_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballot = Ballot(tmp_path, AGREEMENT)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_file", full)
        refused(CODE.GATE_FAILED, "cannot be recorded: No space left", lambda: ballot.vote(1, ONE))
    ballot.vote(1, TWO)  # nothing had left

    refused(CODE.SECOND_SUM, "another list", lambda: Ballot(tmp_path, AGREEMENT).vote(1, ONE))


@pytest.mark.parametrize(
    "content",
    ["", "{}", "null", '{"agreement": "' + AGREEMENT + '", "voted": 1}'],
    ids=["nothing", "no fields", "null", "no list"],
)
def test_a_damaged_record_votes_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / module.FILE).write_text(content)

    refused(CODE.STATE_REFUSED, "is damaged", lambda: Ballot(tmp_path, AGREEMENT))


def test_a_record_of_another_plan_is_refused(tmp_path: Path) -> None:
    Ballot(tmp_path, AGREEMENT).vote(1, ONE)
    assert json.loads((tmp_path / module.FILE).read_text())["agreement"] == AGREEMENT

    refused(CODE.STATE_REFUSED, "of another job or plan", lambda: Ballot(tmp_path, world(4).roster.agreement))
