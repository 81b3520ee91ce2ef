"""The server's sum of uploads: the bytes of the plain sum, whatever comes when; a lost process is nobody's fault."""

import os
import signal
from collections.abc import Iterator

import pytest

from hanse.api.encryption import Scheme
from hanse.runtime.he import (
    CiphertextInvalid,
    Halves,
    Summing,
    TooManyCiphertexts,
    UploadSum,
    WorkerLost,
    split_upload,
)
from hanse.runtime.he.process import Process
from hanse.runtime.he.wire import Operation
from tests.contract.runtime.he.engines import keyed_engine

SCHEMES: tuple[Scheme, ...] = ("None", "BFV", "CKKS")
COUNT = 300


def uploads(scheme: Scheme, clients: int = 3, count: int = COUNT) -> list[bytes]:
    keyed = keyed_engine(scheme)
    return [keyed.engine.encrypt(keyed.key, points) for points in keyed.points(count, clients)]


def cut(upload: bytes, scheme: Scheme = "BFV", count: int = COUNT) -> Halves:
    return split_upload(scheme, upload, count)


@pytest.fixture
def summing() -> Iterator[Summing]:
    with Summing("BFV", COUNT, most=3) as made:
        yield made


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_the_engines_sum_round_after_round(scheme: Scheme) -> None:
    engine = keyed_engine(scheme).engine
    for count in (1, engine.facts.slots + 5):
        with Summing(scheme, count) as summing:
            adding = UploadSum(scheme, count, summing)
            for clients in (3, 1, 2):
                sent = uploads(scheme, clients, count)
                for each in reversed(sent):
                    adding.add(cut(each, scheme, count))
                assert adding.total() == engine.add(sent, count)
                adding.reset()


def test_a_body_that_is_none_is_refused_at_once_and_neither_of_its_halves_is_in_the_sum(summing: Summing) -> None:
    adding, (first, second, third) = UploadSum("BFV", COUNT, summing), uploads("BFV")
    bad = cut(second)
    bad["Bodies"] = bad["Bodies"][:20] + b"\xff" * (len(bad["Bodies"]) - 20)
    adding.add(cut(first))
    with pytest.raises(CiphertextInvalid):
        adding.add(bad)
    adding.add(cut(third))
    assert adding.total() == keyed_engine("BFV").engine.add([first, third], COUNT)


def test_a_total_of_nothing_and_more_than_agreed_are_refused(summing: Summing) -> None:
    adding, sent = UploadSum("BFV", COUNT, summing), uploads("BFV")
    with pytest.raises(TooManyCiphertexts):
        adding.total()
    for each in sent:
        adding.add(cut(each))
    with pytest.raises(TooManyCiphertexts):
        adding.add(cut(sent[0]))
    assert adding.total() == keyed_engine("BFV").engine.add(sent, COUNT)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_process_that_dies_of_seeds_is_replaced_once_and_no_upload_is_blamed(
    summing: Summing, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    adding, sent = UploadSum("BFV", COUNT, summing), uploads("BFV")
    for each in sent:
        adding.add(cut(each))
    deadly, ask, killed = cut(sent[1])["Seeds"], Process.ask, list[int]()

    def dies(
        process: Process, operation: Operation, start: int = 0, end: int = 0, payload: bytes = b"", *, size: int = 0
    ) -> memoryview:
        if payload == deadly and len(killed) < deaths:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
        return ask(process, operation, start, end, payload, size=size)

    monkeypatch.setattr(Process, "ask", dies)
    if deaths == 1:
        assert adding.total() == keyed_engine("BFV").engine.add(sent, COUNT)
    else:
        with pytest.raises(WorkerLost):
            adding.total()
    assert len(set(killed)) == deaths
    adding.reset()
    adding.add(cut(sent[1]))
    assert adding.total() == keyed_engine("BFV").engine.add([sent[1]], COUNT)
