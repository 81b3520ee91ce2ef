"""CKKS as it is mitigated here: exact after rounding, flooded before, a new key each round."""

import numpy as np
import pytest

from hanse.runtime.he.ckks import FLOODING, Ckks
from hanse.runtime.he.engine import FACTS, LANE_LIMIT
from hanse.runtime.he.errors import DecryptionImplausible, KeyInvalid


@pytest.fixture(scope="module")
def kernel() -> Ckks:
    return Ckks()


@pytest.fixture(scope="module")
def job(kernel: Ckks) -> bytes:
    return kernel.keygen()


def total_of(kernel: Ckks, key: bytes, uploads: list[bytes]) -> memoryview:
    total = kernel.total(1)
    for upload in uploads:
        total.add(memoryview(upload))
    return memoryview(total.body(0, 1))


def test_the_error_before_rounding_is_far_below_half_a_step(kernel: Ckks, job: bytes) -> None:
    key = kernel.round_key(job, 1)
    clients = FACTS["CKKS"].most_clients
    most = LANE_LIMIT // clients
    points = np.random.default_rng(0).integers(-most, most + 1, (clients, 2048))
    points[:, :2] = most, -most
    body = total_of(kernel, key, [kernel.encrypt(key, each) for each in points])
    error = np.abs(kernel.approximate(key, body) - points.sum(axis=0)).max()
    assert 0 < error < 1e-4
    assert FLOODING + 1e-4 <= FACTS["CKKS"].margin_steps < 1 / 2


def test_what_is_rounded_was_flooded_with_far_more_than_its_error(
    kernel: Ckks, job: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = kernel.round_key(job, 1)
    body = total_of(kernel, key, [kernel.encrypt(key, np.zeros(2048, np.int64))])
    rounded: list[np.ndarray] = []
    real = np.rint

    def recording(values: np.ndarray) -> np.ndarray:
        rounded.append(values)
        result: np.ndarray = real(values)
        return result

    monkeypatch.setattr(np, "rint", recording)
    kernel.decrypt(key, body, 2048)
    flooded = rounded[-1]
    assert FLOODING * 0.9 < np.abs(flooded).max() <= FLOODING + 1e-4
    assert np.abs(flooded.mean()) < FLOODING / 10
    kernel.decrypt(key, body, 2048)
    assert not np.array_equal(flooded, rounded[-1]), "flooding is drawn anew"


def test_each_round_has_its_own_key_and_others_do_not_open_it(kernel: Ckks, job: bytes) -> None:
    keys = [kernel.round_key(job, number) for number in (1, 2, 3)]
    assert len(set(keys)) == 3
    body = total_of(kernel, keys[0], [kernel.encrypt(keys[0], np.ones(2048, np.int64))])
    for other in keys[1:]:
        with pytest.raises(DecryptionImplausible):
            kernel.decrypt(other, body, 2048)
    with pytest.raises(KeyInvalid, match="a job's key"):
        kernel.encrypt(job, np.ones(1, np.int64))
    with pytest.raises(KeyInvalid, match="a round's key"):
        kernel.round_key(keys[0], 2)


def test_another_holder_derives_the_same_key_and_opens_the_sum(kernel: Ckks, job: bytes) -> None:
    other = Ckks()
    upload = other.encrypt(other.round_key(job, 9), np.arange(2048))
    key = kernel.round_key(job, 9)
    np.testing.assert_array_equal(kernel.decrypt(key, total_of(kernel, key, [upload]), 2048), np.arange(2048))


def test_a_value_between_integers_is_refused(kernel: Ckks, job: bytes) -> None:
    key = kernel.round_key(job, 1)
    halves = np.full(2048, 0.4)
    body = total_of(kernel, key, [kernel.encrypt(key, halves)])
    with pytest.raises(DecryptionImplausible):
        kernel.decrypt(key, body, 2048)
