"""Worker processes: the same sums as in-process, no secret where strangers' bytes are parsed, crashes contained."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from hanse.runtime.he import (
    Cipher,
    CiphertextInvalid,
    CountMismatch,
    DecryptionImplausible,
    KeyInvalid,
    PointOutOfRange,
    Summing,
    TooManyCiphertexts,
    WorkerLost,
)
from hanse.runtime.he.blob import HEADER_BYTES
from hanse.runtime.he.process import Process, usable_cpus
from hanse.runtime.he.wire import Operation
from tests.contract.runtime.he.engines import ROUND, keyed_engine

SCHEMES = ("None", "BFV", "CKKS")
COUNT = 300


def uploads(name: str, clients: int = 3, count: int = COUNT) -> list[bytes]:
    keyed = keyed_engine(name)
    return [keyed.engine.encrypt(keyed.key, points) for points in keyed.points(count, clients)]


def pid_of(worker: Summing) -> int:
    return worker._process.pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


# --- Summing ---


@pytest.mark.parametrize("name", SCHEMES)
def test_a_sum_in_a_worker_is_the_engines_sum_round_after_round(name: str) -> None:
    keyed = keyed_engine(name)
    with Summing(name, COUNT) as summing:  # type: ignore[arg-type]
        worker = pid_of(summing)
        for _ in range(3):
            sent = uploads(name)
            for upload in sent:
                summing.add(upload)
            assert summing.total() == keyed.engine.add(reversed(sent), COUNT)
            assert summing.total() == summing.total()
            summing.reset()
        assert pid_of(summing) == worker


def test_uploads_and_totals_larger_than_a_pipe_arrive_whole() -> None:
    keyed = keyed_engine("BFV")
    count = 64 * keyed.engine.facts.slots
    sent = uploads("BFV", 2, count)
    assert len(sent[0]) > 2 << 20
    with Summing("BFV", count) as summing:
        for upload in sent:
            summing.add(upload)
        assert summing.total() == keyed.engine.add(sent, count)


@pytest.fixture
def summing() -> Iterator[Summing]:
    with Summing("BFV", COUNT, most=3) as made:
        yield made


def test_a_total_of_nothing_and_more_than_agreed_are_refused(summing: Summing) -> None:
    with pytest.raises(TooManyCiphertexts):
        summing.total()
    sent = uploads("BFV")
    for upload in sent:
        summing.add(upload)
    with pytest.raises(TooManyCiphertexts):
        summing.add(sent[0])
    with pytest.raises(CountMismatch):
        Summing("BFV", 0)


def test_what_is_no_upload_is_refused_and_the_total_is_as_before(summing: Summing) -> None:
    first, second, third = uploads("BFV")
    summing.add(first)
    worker = pid_of(summing)
    for bad in (b"", first[:-1], first + b"\0", b"X" + first[1:], first[:HEADER_BYTES] + b"\xff" * (len(first) - 20)):
        with pytest.raises(CiphertextInvalid):
            summing.add(bad)
    summing.add(second)
    summing.add(third)
    assert pid_of(summing) == worker, "a refusal is no crash"
    assert summing.total() == keyed_engine("BFV").engine.add([first, second, third], COUNT)


def test_what_is_too_large_is_refused_before_it_is_parsed(summing: Summing) -> None:
    kill(pid_of(summing))  # so an answer cannot come from the worker
    with pytest.raises(CiphertextInvalid, match="bytes"):
        summing.add(bytes(1 << 20))


def test_a_crash_while_adding_is_not_blamed_on_the_ciphertext(summing: Summing) -> None:
    sent = uploads("BFV")
    for upload in sent:
        kill(pid_of(summing))  # by the kernel, short of memory
        summing.add(upload)
    assert summing.total() == keyed_engine("BFV").engine.add(sent, COUNT)


def test_a_ciphertext_that_two_workers_die_of_is_invalid_and_the_sum_goes_on(
    summing: Summing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = uploads("BFV")
    summing.add(first)
    ask, killed = Process.ask, []

    def deadly(
        process: Process, operation: Operation, start: int = 0, end: int = 0, payload: bytes = b"", *, size: int = 0
    ) -> memoryview:
        if (operation, payload) == (Operation.ADD, second):
            kill(process.pid)
            killed.append(process.pid)
        return ask(process, operation, start, end, payload, size=size)

    with monkeypatch.context() as patched:
        patched.setattr(Process, "ask", deadly)
        with pytest.raises(CiphertextInvalid, match="died of it"):
            summing.add(second)
    assert len(set(killed)) == 2
    summing.add(third)
    assert summing.total() == keyed_engine("BFV").engine.add([first, third], COUNT)
    kill(pid_of(summing))
    assert summing.total() == keyed_engine("BFV").engine.add([third, first], COUNT)
    kill(pid_of(summing))
    summing.reset()
    summing.add(second)
    assert summing.total() == keyed_engine("BFV").engine.add([second], COUNT)


def test_an_interrupt_in_the_terminal_leaves_the_worker_to_its_parent(summing: Summing) -> None:
    worker = pid_of(summing)
    os.kill(worker, signal.SIGINT)
    summing.add(uploads("BFV")[0])
    assert summing.total()
    assert pid_of(summing) == worker


def test_the_adding_worker_holds_no_secret_and_little_memory(summing: Summing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSE_TEST_TOKEN", "a-token-of-the-server")
    with Summing("BFV", COUNT) as made:
        process = Path("/proc") / str(pid_of(made))
        assert "a-token-of-the-server" not in (process / "environ").read_text()
        limits = {line[:25].strip(): line[25:].split()[:2] for line in (process / "limits").read_text().splitlines()}
        assert int(limits["Max address space"][0]) < 1 << 30
        assert limits["Max address space"][0] == limits["Max address space"][1]
        assert limits["Max core file size"][:2] == ["0", "0"]
        opened = [str(entry.readlink()) for entry in (process / "fd").iterdir()]
        assert not [at for at in opened if at.startswith("socket:")]


def test_a_worker_that_needs_more_memory_than_a_sum_dies_alone() -> None:
    """The cap is real: a worker asked for a sum 1,000 times as large as it was opened for is not given the memory."""
    process = Process()
    try:
        process.ask(Operation.OPEN, COUNT, 3, b"BFV")
        with pytest.raises(Exception, match=r"^$") as caught:
            process.ask(Operation.OPEN, 10**9, 3, b"BFV")
        assert caught.typename == "Died"
    finally:
        process.close()


# --- Cipher ---


@pytest.fixture(params=SCHEMES)
def cipher(request: pytest.FixtureRequest) -> Iterator[Cipher]:
    with Cipher(request.param, keyed_engine(request.param).job, processes=2) as made:
        yield made


@pytest.mark.parametrize("name", SCHEMES)
def test_workers_and_engine_read_each_other_whatever_is_shared_out(name: str) -> None:
    keyed = keyed_engine(name)
    slots = keyed.engine.facts.slots
    with Cipher(name, keyed.job, processes=3) as cipher:  # type: ignore[arg-type]
        for count in (1, COUNT, slots, 48 * slots + 5):
            first, second = keyed.points(count, clients=2)
            sent = [cipher.encrypt(ROUND, first), keyed.engine.encrypt(keyed.key, second)]
            assert len(sent[0]) == len(sent[1])
            total = keyed.engine.add(sent, count)
            np.testing.assert_array_equal(cipher.decrypt(ROUND, total, count), first + second)
            np.testing.assert_array_equal(keyed.engine.decrypt(keyed.key, total, count), first + second)


def test_errors_of_a_worker_keep_their_names(cipher: Cipher) -> None:
    with pytest.raises(PointOutOfRange):
        cipher.encrypt(1, np.array([1 << 18], np.int64))
    with pytest.raises(CiphertextInvalid):
        cipher.decrypt(1, b"nothing", COUNT)
    with pytest.raises(KeyInvalid):
        Cipher("BFV", b"no key")


def test_another_key_is_noticed_by_the_worker() -> None:
    keyed = keyed_engine("BFV")
    total = keyed.total(keyed.points(COUNT))
    with Cipher("BFV", keyed.engine.keygen(), processes=1) as cipher:
        with pytest.raises(DecryptionImplausible):
            cipher.decrypt(ROUND, total, COUNT)
        assert cipher.encrypt(ROUND, np.zeros(1, np.int64)), "and the worker goes on"
    count = 48 * keyed.engine.facts.slots
    total, other = keyed.total(keyed.points(count)), keyed.engine.keygen()
    with Cipher("BFV", other, processes=2) as cipher:
        for _ in range(2):  # replies of the other process are not taken for those of the next call
            with pytest.raises(DecryptionImplausible):
                cipher.decrypt(ROUND, total, count)
            upload = cipher.encrypt(ROUND, np.arange(count) % 7)
            own = keyed.engine.add([upload], count)
            np.testing.assert_array_equal(cipher.decrypt(ROUND, own, count), np.arange(count) % 7)
    elsewhere = keyed.job[:-1] + bytes([keyed.job[-1] ^ 1])
    with Cipher("BFV", elsewhere, processes=1) as cipher, pytest.raises(KeyInvalid):
        cipher.encrypt(ROUND, np.zeros(1, np.int64))


def test_a_lost_worker_is_replaced_and_one_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    keyed = keyed_engine("BFV")
    points = keyed.points(COUNT)[0]
    with Cipher("BFV", keyed.job, processes=1) as cipher:
        cipher.encrypt(ROUND, points)
        kill(cipher._processes[0].pid)
        total = keyed.engine.add([cipher.encrypt(ROUND, points)], COUNT)
        kill(cipher._processes[0].pid)
        np.testing.assert_array_equal(cipher.decrypt(ROUND, total, COUNT), points)
        kill(cipher._processes[0].pid)
        monkeypatch.setattr("hanse.runtime.he.process._COMMAND", ("false",))
        with pytest.raises(WorkerLost):
            cipher.encrypt(ROUND, points)
        with pytest.raises(WorkerLost):
            Summing("BFV", COUNT)


def test_threads_may_share_a_cipher(cipher: Cipher) -> None:
    found: list[bytes] = []
    threads = [Thread(target=lambda: found.append(cipher.encrypt(1, np.ones(9, np.int64)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def test_the_key_stands_in_no_argument_and_no_environment() -> None:
    key = keyed_engine("BFV").job
    with Cipher("BFV", key, processes=1) as cipher:
        cipher.encrypt(ROUND, np.zeros(1, np.int64))
        process = Path("/proc") / str(cipher._processes[0].pid)
        for name in ("cmdline", "environ"):
            content = (process / name).read_bytes()
            assert key not in content
            assert key.hex().encode() not in content


@pytest.mark.parametrize("name", ["BFV", "CKKS"])
def test_workers_and_forks_never_draw_the_same(name: str) -> None:
    """Seeds come from the operating system at each encryption: nothing that two processes could both inherit."""
    keyed = keyed_engine(name)
    slots = keyed.engine.facts.slots
    points = np.zeros(32 * slots, np.int64)
    chunk = keyed.engine.facts.upload_chunk_bytes
    keyed.engine.encrypt(keyed.key, points[:1])  # whatever state there is, both children inherit it
    found = [_in_a_fork(name), _in_a_fork(name)]
    with Cipher(name, keyed.job, processes=2) as cipher:  # type: ignore[arg-type]
        found.append(cipher.encrypt(ROUND, points))
        assert len(cipher._processes) == 2
    seeds = [blob[at - 64 : at] for blob in found for at in range(HEADER_BYTES + chunk, len(blob) + 1, chunk)]
    assert len(seeds) == 3 * 32
    assert len(set(seeds)) == len(seeds)


def _in_a_fork(name: str) -> bytes:
    """The encryption of zeros by a forked copy of this process."""
    keyed = keyed_engine(name)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        blob = keyed.engine.encrypt(keyed.key, np.zeros(32 * keyed.engine.facts.slots, np.int64))
        with os.fdopen(write, "wb") as pipe:
            pipe.write(blob)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return content


def test_usable_cpus_are_those_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr("hanse.runtime.he.process._QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert usable_cpus() == 8
    for content, expected in (("max 100000", 8), ("100000 100000", 1), ("50000 100000", 1), ("250000 100000", 3)):
        quota.write_text(content)
        assert usable_cpus() == expected
