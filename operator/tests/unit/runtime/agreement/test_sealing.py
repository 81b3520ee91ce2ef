"""Sealed state: opens for the same key, job, round and digests, whole and unchanged; for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Refused, digest_of, seal, sealed_bytes, sealing, state_key, unseal
from tests.unit.runtime.agreement.world import KEY, OTHER_KEY

AGREEMENT, OTHER = digest_of(b"agreement"), digest_of(b"other")
DIGESTS = [digest_of(b"model"), digest_of(b"state")]
SECRET = state_key(KEY)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK_BYTES", 64)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_it_opens_again(size: int) -> None:
    data = bytes(range(256)) * 4
    sealed = seal(SECRET, AGREEMENT, 3, DIGESTS, data[:size])

    assert len(sealed) == sealed_bytes(size)
    assert unseal(SECRET, AGREEMENT, 3, DIGESTS, sealed) == data[:size]
    assert unseal(SECRET, AGREEMENT, 3, DIGESTS, bytearray(sealed)) == data[:size]


def test_two_sealings_of_one_state_have_nothing_in_common() -> None:
    one, two = (seal(SECRET, AGREEMENT, 3, DIGESTS, bytes(200)) for _ in range(2))

    assert one[:8] == two[:8] == sealing.MAGIC
    assert not {one[at : at + 8] for at in range(8, len(one))} & {two[at : at + 8] for at in range(8, len(two))}


@pytest.mark.parametrize(
    ("key", "agreement", "round", "digests"),
    [
        (state_key(OTHER_KEY), AGREEMENT, 3, DIGESTS),
        (KEY.ljust(32), AGREEMENT, 3, DIGESTS),
        (SECRET, OTHER, 3, DIGESTS),
        (SECRET, AGREEMENT, 2, DIGESTS),
        (SECRET, AGREEMENT, 3, [DIGESTS[0], OTHER]),
        (SECRET, AGREEMENT, 3, [OTHER, DIGESTS[1]]),
        (SECRET, AGREEMENT, 3, DIGESTS[:1]),
    ],
    ids=["key", "job key itself", "agreement", "round", "state", "model", "digests"],
)
def test_state_of_something_else_is_refused(key: bytes, agreement: str, round: int, digests: list[str]) -> None:
    sealed = seal(SECRET, AGREEMENT, 3, DIGESTS, b"state")

    with pytest.raises(Refused, match=f"sealed state of round {round} is not of this job") as refused:
        unseal(key, agreement, round, digests, sealed)
    assert refused.value.code == ReplyCode.STATE_REFUSED


@given(st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    sealed = bytearray(seal(SECRET, AGREEMENT, 3, DIGESTS, bytes(150)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Refused):
        unseal(SECRET, AGREEMENT, 3, DIGESTS, sealed)


def test_chunks_cannot_be_moved_dropped_repeated_or_cut_off() -> None:
    sealed = seal(SECRET, AGREEMENT, 3, DIGESTS, bytes(64 * 3))
    head, step = sealed[:40], 64 + sealing.TAG_BYTES
    chunks = [sealed[40 + at * step : 40 + (at + 1) * step] for at in range(3)]

    for wrong in ([1, 0, 2], [0, 2], [0, 1], [0, 1, 2, 2], [0, 0, 1, 2], []):
        with pytest.raises(Refused):
            unseal(SECRET, AGREEMENT, 3, DIGESTS, head + b"".join(chunks[at] for at in wrong))
    with pytest.raises(Refused):
        unseal(SECRET, AGREEMENT, 3, DIGESTS, sealed + b"x")
    assert unseal(SECRET, AGREEMENT, 3, DIGESTS, head + b"".join(chunks)) == bytes(64 * 3)
