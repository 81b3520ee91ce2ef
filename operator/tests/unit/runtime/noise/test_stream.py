"""No two releases share a stream: keys from the operating system, nothing survives a fork, nothing is drawn twice."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from multiprocessing.connection import Connection

import numpy as np
import pytest

from hanse.runtime.noise import ChaChaStream, NoiseError, ReleaseNoise, StreamReusedError

DRAWN = 16
SIGMA = 2.0**19


def test_the_stream_is_chacha20() -> None:
    # RFC 8439, appendix A.1, test vector 1
    words = ChaChaStream(bytes(32)).words(2)
    assert words.astype("<u8").tobytes().hex() == "76b8e0ada0f13d90405d6ae55386bd28"


def test_a_stream_goes_on() -> None:
    whole = ChaChaStream(b"k" * 32).words(100)
    stream = ChaChaStream(b"k" * 32)
    assert np.array_equal(np.concatenate([stream.words(3), stream.words(97)]), whole)


def test_noise_is_drawn_once() -> None:
    noise = ReleaseNoise()
    noise.draw(1.0, 4)
    with pytest.raises(StreamReusedError):
        noise.draw(1.0, 4)


def test_a_failed_draw_uses_the_stream_up() -> None:
    class Broken:
        def words(self, count: int) -> np.ndarray:
            raise OSError("no entropy")

    noise = ReleaseNoise(Broken())
    with pytest.raises(OSError):
        noise.draw(1.0, 4)
    with pytest.raises(StreamReusedError):
        noise.draw(1.0, 4)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_is_not_copied(duplicate: object) -> None:
    for original in (ChaChaStream.fresh(), ReleaseNoise()):
        with pytest.raises(NoiseError):
            duplicate(original)  # type: ignore[operator]


def _inherit(pipe: Connection, stream: ChaChaStream, noise: ReleaseNoise) -> None:
    answers = []
    for use in (lambda: stream.words(1), lambda: noise.draw(1.0, 1)):
        try:
            use()
            answers.append("drawn")
        except StreamReusedError:
            answers.append("refused")
    pipe.send(answers)


def test_a_child_cannot_use_its_parents_stream() -> None:
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe()
    stream, noise = ChaChaStream.fresh(), ReleaseNoise()
    child = forks.Process(target=_inherit, args=(theirs, stream, noise))
    child.start()
    assert ours.recv() == ["refused", "refused"]
    child.join()
    assert len(stream.words(1)) == 1  # the parent's is untouched


def _work(pipe: Connection) -> None:
    pipe.send([tuple(ReleaseNoise().draw(SIGMA, DRAWN).tolist()) for _ in range(5)])


def test_no_two_workers_restarts_or_rounds_share_a_stream() -> None:
    ReleaseNoise().draw(SIGMA, DRAWN)  # state that children would inherit
    forks = multiprocessing.get_context("fork")
    drawn = [tuple(ReleaseNoise().draw(SIGMA, DRAWN).tolist()) for _ in range(5)]
    for _ in range(4):
        ours, theirs = forks.Pipe()
        children = [forks.Process(target=_work, args=(theirs,)) for _ in range(2)]
        for child in children:
            child.start()
        for _ in children:
            drawn += ours.recv()
        for child in children:
            child.join()
    code = f"from hanse.runtime.noise import ReleaseNoise; print(*ReleaseNoise().draw({SIGMA}, {DRAWN}))"
    for _ in range(2):
        text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        drawn.append(tuple(int(value) for value in text.split()))
    assert len(drawn) == 5 + 4 * 2 * 5 + 2
    # 47 draws of 16 values with 20 bits of entropy each: no two streams even share a stretch of four values.
    stretches = [draw[start : start + 4] for draw in drawn for start in range(DRAWN - 3)]
    assert len(set(stretches)) == len(stretches)
