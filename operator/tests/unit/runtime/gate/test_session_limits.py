"""What a trainer may send: no more than is plausible, what is more costs it the reply."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.session import PLAUSIBLE_BYTES
from tests.unit.runtime.gate.memory_fleet import Stage, letter, model


def _large(count: int) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(count, np.uint8))})})


@pytest.mark.parametrize(
    ("kind", "limit", "count", "refused"),
    [
        ("train", 1 << 30, PLAUSIBLE_BYTES + (1 << 20), True),
        ("query.initial", 1 << 30, PLAUSIBLE_BYTES + (1 << 20), False),
        ("query.initial", 1 << 20, 2 << 20, True),
        ("train", 1 << 20, 2 << 20, True),
    ],
)
def test_a_reply_that_is_too_large_is_refused_and_the_next_is_taken(
    tmp_path: Path, kind: str, limit: int, count: int, refused: bool
) -> None:
    stage = Stage(tmp_path, limit=limit)
    stage.send(letter(model(), kind))
    stage.hear("message")
    stage.reply(_large(count))
    answer = stage.answer()
    assert (answer == ReplyCode.NOT_ALLOWED_IN_REPLY) == refused
    assert refused or isinstance(answer, RecordDict)
    stage.send(letter(model(), message_id="m2"))
    stage.hear("message")
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}), message_id="m2")
    assert isinstance(stage.answer(), RecordDict)
    stage.finish()


def test_a_state_counts_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limit=1 << 20)
    stage.send(letter(model()))
    stage.hear("message")
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}), _large(2 << 20))
    assert stage.answer() == ReplyCode.NOT_ALLOWED_IN_REPLY
    stage.finish()


def test_a_trainer_that_floods_while_nothing_is_asked_fills_no_memory(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.fleet.online.wait(20)
    stage.reply(_large(1 << 20))
    stage.send(letter(model(), message_id="m2"))
    stage.hear("message")
    stage.reply(RecordDict({"arrays": model(2.0)["arrays"]}), message_id="m2")
    assert isinstance(stage.answer(), RecordDict)
    stage.finish()
