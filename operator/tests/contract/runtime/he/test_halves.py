"""Half an upload: the sums of both halves are the halves of the sum, and one half alone says nothing.

Whoever verifies holds the job's key, so a half must hide the update from the key itself.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from hanse.api.encryption import HALVES, Half, Scheme
from hanse.runtime.he import (
    CiphertextInvalid,
    DecryptionImplausible,
    Halves,
    Summing,
    TooManyCiphertexts,
    join_total,
    planes,
    split_total,
    split_upload,
)
from hanse.runtime.he.blob import HEADER_BYTES
from hanse.runtime.he.planes import SEED_BYTES
from hanse.runtime.he.rlwe import Chunks
from tests.contract.runtime.he.engines import Keyed, keyed_engine

SCHEMES: tuple[Scheme, ...] = ("None", "BFV", "CKKS")
HIDING: tuple[Scheme, ...] = ("BFV", "CKKS")


def uploads(keyed: Keyed, count: int, clients: int = 4) -> list[bytes]:
    return [keyed.engine.encrypt(keyed.key, points) for points in keyed.points(count, clients)]


def sums(keyed: Keyed, halves: list[Halves], count: int) -> Halves:
    return {half: keyed.engine.add([one[half] for one in halves], count, half) for half in HALVES}  # type: ignore[call-arg]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_sums_of_both_halves_are_the_sum(scheme: Scheme) -> None:
    keyed = keyed_engine(scheme)
    for count in (1, keyed.engine.facts.slots + 5):
        sent = uploads(keyed, count)
        total = keyed.engine.add(sent, count)
        for order in itertools.permutations([split_upload(scheme, each, count) for each in sent]):
            made = sums(keyed, list(order), count)
            assert made == split_total(scheme, total, count), "and they are canonical"
            assert join_total(scheme, made, count) == total


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sizes_are_what_is_declared(scheme: Scheme) -> None:
    keyed = keyed_engine(scheme)
    facts, count = keyed.engine.facts, 2 * keyed.engine.facts.slots + 7
    upload = uploads(keyed, count, 1)[0]
    halves, total = split_upload(scheme, upload, count), keyed.engine.add([upload], count)
    for half in HALVES:
        assert len(halves[half]) == facts.max_ciphertext_bytes(count, half)
        assert len(split_total(scheme, total, count)[half]) == facts.max_total_bytes(count, half)
    assert sum(len(halves[half]) - HEADER_BYTES for half in HALVES) == len(upload) - HEADER_BYTES


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_worker_adds_halves_as_the_engine_does(scheme: Scheme) -> None:
    keyed, count = keyed_engine(scheme), 300
    sent = uploads(keyed, count)
    whole = split_total(scheme, keyed.engine.add(sent, count), count)
    with Summing(scheme, count, half="Seeds") as summing:
        for half in ("Seeds", "Bodies", "Seeds"):
            summing.reset(half)
            for each in sent:
                summing.add(split_upload(scheme, each, count)[half])
            assert summing.total() == whole[half]
        summing.reset()
        for each in sent:
            summing.add(each)
        assert split_total(scheme, summing.total(), count) == whole


@pytest.mark.parametrize("scheme", HIDING)
def test_what_is_not_the_half_that_is_added_is_refused(scheme: Scheme) -> None:
    keyed, count = keyed_engine(scheme), 300
    sent = uploads(keyed, count, 2)
    first = split_upload(scheme, sent[0], count)
    others: dict[Half, Half] = {"Bodies": "Seeds", "Seeds": "Bodies"}
    total = keyed.engine.add(sent, count)
    for half, other in others.items():
        bad = [
            b"",
            sent[0],
            first[other],
            first[half][:-1],
            first[half] + b"\0",
            total,
            split_total(scheme, total, count)[half],
        ]
        for each in bad:
            adding = keyed.engine.totalling(count, half=half)  # type: ignore[attr-defined]
            adding.add(first[half])
            alone = adding.total()
            with pytest.raises(CiphertextInvalid):
                adding.add(each)
            assert adding.total() == alone
        with pytest.raises(TooManyCiphertexts):
            keyed.engine.totalling(count, half=half).total()  # type: ignore[attr-defined]
    over = first["Bodies"][:HEADER_BYTES] + b"\xff" * (len(first["Bodies"]) - HEADER_BYTES)
    with pytest.raises(CiphertextInvalid):
        keyed.engine.totalling(count, half="Bodies").add(over)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_what_belongs_together_is_cut_and_joined(scheme: Scheme) -> None:
    keyed, count = keyed_engine(scheme), 300
    one, two = (keyed.engine.add(uploads(keyed, count, clients), count) for clients in (1, 2))
    ours, theirs = split_total(scheme, one, count), split_total(scheme, two, count)
    turned: Halves = {"Bodies": ours["Seeds"], "Seeds": ours["Bodies"]}
    for mixed in ({**ours, "Seeds": theirs["Seeds"]}, turned):
        with pytest.raises(CiphertextInvalid):
            join_total(scheme, mixed, count)
    cuts: list[Callable[[], Halves]] = [
        lambda: split_upload(scheme, one, count),
        lambda: split_total(scheme, uploads(keyed, count, 1)[0], count),
        lambda: split_total(scheme, one, count + 50_000),
        lambda: split_upload(scheme, b"", count),
    ]
    for cut in cuts:
        with pytest.raises(CiphertextInvalid):
            cut()


# --- half alone, for who holds the key ---


def decrypted(keyed: Keyed, halves: Halves, count: int) -> np.ndarray | None:
    """What a key holder reads of an upload that it has put together; None when it is no sum of points."""
    scheme = keyed.engine.facts.scheme
    made = sums(keyed, [halves], count)
    try:
        return keyed.engine.decrypt(keyed.key, join_total(scheme, made, count), count)
    except DecryptionImplausible:
        return None


def seeds_of(halves: Halves, filled: Callable[[int], bytes]) -> bytes:
    seeds = halves["Seeds"]
    return seeds[:HEADER_BYTES] + filled(len(seeds) - HEADER_BYTES)


@pytest.mark.parametrize("scheme", HIDING)
def test_a_body_does_not_decrypt_with_the_right_key_and_another_seed(scheme: Scheme) -> None:
    keyed = keyed_engine(scheme)
    count = 2 * keyed.engine.facts.slots
    points = keyed.points(count, 3)
    cut = [split_upload(scheme, keyed.engine.encrypt(keyed.key, each), count) for each in points]
    for index, halves in enumerate(cut):
        read = decrypted(keyed, halves, count)
        assert read is not None, "control: with both halves it is read"
        np.testing.assert_array_equal(read, points[index])
        turned = halves["Seeds"][HEADER_BYTES:]
        wrong = [
            seeds_of(halves, bytes),
            seeds_of(halves, lambda size: b"\xff" * size),
            seeds_of(halves, lambda size: turned[SEED_BYTES:] + turned[:SEED_BYTES]),  # noqa: B023 - called at once
            cut[index - 1]["Seeds"],  # another participant's, or the attacker's own
        ]
        for seeds in wrong:
            assert decrypted(keyed, {**halves, "Seeds": seeds}, count) is None


@pytest.mark.parametrize("scheme", HIDING)
def test_what_a_body_says_to_who_holds_the_key_has_nothing_to_do_with_the_message(scheme: Scheme) -> None:
    """Without c1 the key is no use, so the body itself is looked at: it must be uniform, whatever was encrypted.

    Coefficients of a body of zeros are as good as c1 * s alone. Each prime is cut into 16 parts, which the coefficients
    of a message of extremes and of one of zeros must fill alike: chi squared of 15 degrees of freedom is below 60 but
    with probability 2e-7. The control: small numbers, as a message of zeros with its error and no mask.
    """
    keyed = keyed_engine(scheme)
    kernel, count = keyed.engine.kernel, keyed.engine.facts.slots  # type: ignore[attr-defined]
    chunks = kernel._chunks
    for points in (np.zeros(count, np.int64), keyed.points(count)[0], np.full(count, 7)):
        halves = split_upload(scheme, keyed.engine.encrypt(keyed.key, points), count)
        body = _coefficients(chunks, halves["Bodies"])
        seeds = keyed.engine.add([halves["Seeds"]], count, "Seeds")  # type: ignore[call-arg]
        c1 = _coefficients(chunks, seeds)
        assert _chi_squared(chunks, body) < 60
        assert _chi_squared(chunks, c1) < 60
        assert abs(np.corrcoef(body.ravel().astype(float), c1.ravel().astype(float))[0, 1]) < 0.1
    errors = np.random.default_rng(0).integers(-21, 22, body.shape)
    assert _chi_squared(chunks, (errors % chunks.primes.astype(np.int64)).astype(np.uint64)) > 1000


def _coefficients(chunks: Chunks, half: bytes) -> planes.Words:
    words = planes.read(np.frombuffer(half, chunks.polynomials(1), offset=HEADER_BYTES)[0], chunks.bits)
    return words.reshape(words.shape[1:])


def _chi_squared(chunks: Chunks, words: planes.Words) -> float:
    found = []
    for prime, row in zip(chunks.primes.ravel(), words, strict=True):
        counts = np.bincount((row.astype(object) * 16 // int(prime)).astype(int), minlength=16)
        expected = len(row) / 16
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return max(found)
