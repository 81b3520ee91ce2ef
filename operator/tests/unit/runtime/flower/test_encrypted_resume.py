"""kill -9 of the aggregator at any message: the job goes on with the same list, or lets the round be void.

Checkpoints that are damaged, of another job or on a full volume; sealed states that are lost.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.aggregation.model import read_model
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_fleet import Answer, Question, RunFailedError
from tests.unit.runtime.flower.conftest import Make
from tests.unit.runtime.flower.gates import Killed, Scene, encrypting, quick, scene
from tests.unit.runtime.server.memory_fleet import stop

pytestmark = pytest.mark.protocol

ROUNDS = 2


def kill_at(s: Scene, moment: int, after: bool) -> None:
    """The aggregator dies when the gate that is asked `moment`-th is about to answer, or has answered."""
    asked = iter(range(10_000))

    def before(question: Question, index: int) -> Answer | None:
        if not after and next(asked) == moment:
            raise Killed
        return None

    def then(question: Question, index: int, answer: Answer) -> Answer:
        if after and next(asked) == moment:
            raise Killed
        return answer

    s.fleet.before, s.fleet.after = before, then


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """How many answers a job takes that nobody disturbs, and the digest of its model."""
    with pytest.MonkeyPatch.context() as patch:
        s = scene(tmp_path_factory.mktemp("whole"), quick(patch), rounds=ROUNDS)
        s.run()
        return sum(len(to) for _, _, to in s.fleet.questions), s.stands()[0][1]


#: More than the job takes: the last ones kill nobody. What was answered and not heard is tried more rarely: a gate
#: does the same whether the server hears it or not.
@pytest.mark.parametrize(("moment", "after"), [(m, False) for m in range(44)] + [(m, True) for m in range(2, 44, 3)])
def test_killed_at_any_message_the_job_ends_with_the_same_model(
    make: Make, whole: tuple[int, str], moment: int, after: bool
) -> None:
    count, digest = whole
    s = make(rounds=ROUNDS)
    kill_at(s, moment, after)
    if moment < count:
        with pytest.raises(Killed):
            s.run()
        s.restart()
    assert s.run() == Reason.COMPLETED
    # Every gate gives the bytes of a cut-off round again, so no round is void and the model is the same.
    assert s.contributed == [3] * ROUNDS
    assert set(s.stands()) == {(ROUNDS, digest)}
    assert (s.root / "server/output/model.safetensors").exists()


def test_no_message_is_left_out(whole: tuple[int, str]) -> None:
    assert whole[0] <= 44


def test_a_decided_list_is_finished_with_those_who_are_in_it(make: Make) -> None:
    """p2 has answered and is not there when the new server starts: it is waited for."""
    s = make(rounds=2, quorum=2)
    s.killed_at(messages.VERIFY, 1)
    s.restart()
    s.fleet.online = {0, 1}
    s.clock.at(s.clock.seconds + 70, lambda: s.fleet.online.add(2))
    s.run()
    assert s.contributed == [3, 3]


def test_a_list_that_cannot_be_finished_is_a_void_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s = scene(tmp_path, encrypting(monkeypatch), rounds=3, quorum=2)
    s.killed_at(messages.VERIFY, 1)
    s.restart()
    s.replace(2)  # its ciphertext is gone, the next one is another
    s.run()
    assert s.contributed == [0, 3, 3]
    assert s.last.rounds[-1].reasons == {"p2": "CiphertextInvalid"}


def test_a_list_whose_contributor_never_comes_back_is_a_void_round(make: Make) -> None:
    s = make(rounds=2, quorum=2)
    s.killed_at(messages.APPLY, 1, index=1)
    s.restart()
    s.fleet.online = {0, 1}
    s.run()
    assert s.contributed == [0, 2]
    assert s.last.rounds[-1].reasons == {"p2": "NotConnected"}


def test_a_round_that_was_not_evaluated_is_evaluated_first(make: Make) -> None:
    s = make(rounds=2)
    s.killed_at(messages.EVALUATE, 1)
    s.restart()
    s.run()
    assert [r.metrics.keys() for r in s.last.rounds] == [{"loss"}, {"loss"}]
    assert s.last.rounds[1].contributed == 3


def test_a_stopped_job_that_is_killed_before_its_model_is_out_does_not_train_again(make: Make) -> None:
    s = make(rounds=5, stop_when=stop("loss", ">=", "0"))
    s.killed_at(messages.MODEL, 1)
    trained = len(s.fleet.rounds(messages.TRAIN))
    s.restart()
    # Asked again, nobody would say what stopped it.
    s.fleet.before = lambda q, i: Answer(failure=Reason.APP_ERROR) if q.kind == messages.EVALUATE else None
    assert s.run() == Reason.STOPPED_BY_METRIC
    assert len(s.fleet.rounds(messages.TRAIN)) == trained
    assert s.last.model is not None


def test_all_gates_and_the_server_start_anew(make: Make) -> None:
    s = make(rounds=4)
    s.killed_at(messages.TRAIN, 3)
    for index in range(3):
        s.kill(index)
    s.restart()
    s.run()
    assert s.contributed == [3, 3, 3, 3]
    _, metadata = read_model(s.root / "server/output/model.safetensors")
    assert metadata["rounds"] == "4"


# -- the checkpoint


def checkpoint(s: Scene) -> Path:
    return s.root / "server/var/lib/hanse/checkpoint/encrypted.ckpt"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_has_a_copy(make: Make) -> None:
    s = make(rounds=3)
    s.killed_at(messages.TRAIN, 2)
    damage(checkpoint(s))
    s.restart()
    s.run()
    assert s.contributed == [3, 3, 3]


def test_two_damaged_checkpoints_end_the_job(make: Make) -> None:
    s = make(rounds=3)
    s.killed_at(messages.TRAIN, 2)
    damage(checkpoint(s))
    damage(checkpoint(s).with_name("encrypted.ckpt.previous"))
    s.restart()
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.CHECKPOINT_INVALID


def test_a_server_whose_volume_is_lost_says_so(make: Make) -> None:
    s = make(rounds=4)
    s.killed_at(messages.TRAIN, 3)
    shutil.rmtree(checkpoint(s).parent)
    s.restart()
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.CHECKPOINT_INVALID
    assert "p0, p1, p2 have committed round 2" in str(caught.value)


@pytest.mark.parametrize("change", [{"job_uid": "other"}, {"agreement": "sha256:" + "0" * 64}])
def test_another_jobs_volume_is_refused(make: Make, change: dict[str, str]) -> None:
    s = make(rounds=2)
    s.killed_at(messages.TRAIN, 2)
    state = EncryptedState(checkpoint(s).parent, s.config.job.uid, s.job.roster.agreement)
    assert state.restore()
    state.saved = state.saved.model_copy(update=change)
    state.save()
    s.restart()
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.CHECKPOINT_INVALID
    assert "another job" in str(caught.value)


def test_a_volume_that_fails_ends_the_job(make: Make) -> None:
    s = make(rounds=2)

    def before(question: Question, index: int) -> Answer | None:
        if (question.kind, question.number, index) == (messages.TRAIN, 2, 0):
            shutil.rmtree(checkpoint(s).parent)
            checkpoint(s).parent.write_text("a file where a directory should be")
        return None

    s.fleet.before = before
    with pytest.raises(RunFailedError) as caught:
        s.run()
    assert caught.value.code == ExitCode.OUTPUT_FAILED


@pytest.mark.parametrize("how", [damage, lambda path: path.unlink()])
def test_a_sealed_state_that_is_damaged_is_sealed_again(make: Make, how: Callable[[Path], None]) -> None:
    s = make(rounds=4, quorum=2)
    s.killed_at(messages.TRAIN, 3)
    how(checkpoint(s).with_name("sealed-2.bin"))
    s.restart()
    s.replace(2)
    s.run()
    assert s.contributed == [3, 3, 3, 3]
    assert [number for number, _ in s.fleet.rounds(messages.SEAL)] == [2]
    assert len(set(s.stands())) == 1


def test_only_the_newest_sealed_states_are_kept(make: Make) -> None:
    s = make(rounds=5)
    s.run()
    names = sorted(path.name for path in checkpoint(s).parent.glob("sealed-*"))
    assert names == ["sealed-4.bin", "sealed-5.bin"]


def test_nothing_in_the_servers_files_holds_the_key_or_a_plain_state(make: Make) -> None:
    s = make(rounds=2)
    s.run()
    key = s.fleet.gates[0].running._parts.key._key
    assert key is not None
    for path in (s.root / "server/var").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert key not in content
            assert key[-16:] not in content


def test_a_gate_that_lies_about_what_it_sealed_is_not_asked_again(make: Make) -> None:
    s = make(rounds=3)
    lied: list[int] = []

    def after(question: Question, index: int, answer: Answer) -> Answer:
        sealing = question.kind in (messages.APPLY, messages.SEAL)
        if sealing and question.number == 1 and messages.SEALED in (answer.arrays or {}):
            lied.append(index)
            if len(lied) == 1:
                assert answer.arrays is not None
                return replace(answer, arrays={messages.SEALED: answer.arrays[messages.SEALED][::-1].copy()})
        return answer

    s.replace_at(messages.TRAIN, 2, 2)
    s.fleet.after = after
    s.run()
    assert s.contributed == [3, 3, 3]
    assert len(lied) == 2
    assert lied[0] != lied[1]
    assert len(set(s.stands())) == 1
