"""What every engine owes its callers: exact sums, canonical totals, declared sizes, refusals by name."""

import itertools

import numpy as np
import pytest

from hanse.runtime.he import (
    CiphertextInvalid,
    CountMismatch,
    DecryptionImplausible,
    KeyInvalid,
    PointOutOfRange,
    TooManyCiphertexts,
    engine_of,
    fingerprint,
)
from hanse.runtime.he.blob import HEADER_BYTES
from tests.contract.runtime.he.engines import ENCRYPTING, Keyed, keyed_engine


def sizes(keyed: Keyed) -> list[int]:
    slots = keyed.engine.facts.slots
    return [1, 2, slots - 1, slots, slots + 1, 2 * slots + 7]


def test_a_sum_is_exact_at_every_edge_of_a_chunk(keyed: Keyed) -> None:
    for count in sizes(keyed):
        points = keyed.points(count, clients=3, seed=count)
        decrypted = keyed.engine.decrypt(keyed.key, keyed.total(points), count)
        assert decrypted.dtype == np.int64
        np.testing.assert_array_equal(decrypted, np.sum(points, axis=0))


def test_one_summand_is_a_sum(keyed: Keyed) -> None:
    (points,) = keyed.points(10)
    np.testing.assert_array_equal(keyed.engine.decrypt(keyed.key, keyed.total([points]), 10), points)


def test_a_total_is_the_same_bytes_in_every_order_and_on_another_engine(keyed: Keyed) -> None:
    count = keyed.engine.facts.slots + 5
    uploads = [keyed.engine.encrypt(keyed.key, points) for points in keyed.points(count, clients=4)]
    totals = {keyed.engine.add(order, count) for order in itertools.permutations(uploads)}
    assert len(totals) == 1
    scheme = keyed.engine.facts.scheme
    if uploads[0][5] == 1:  # a verifier's engine; the public-key form has no name
        assert engine_of(scheme).add(uploads, count) in totals


def test_sizes_are_what_is_declared(keyed: Keyed) -> None:
    facts = keyed.engine.facts
    for count in sizes(keyed):
        upload = keyed.engine.encrypt(keyed.key, keyed.points(count)[0])
        assert len(upload) == facts.max_ciphertext_bytes(count)
        assert len(keyed.engine.add([upload], count)) == facts.max_total_bytes(count)
    large = 1_000_000
    assert facts.max_ciphertext_bytes(large) / large == pytest.approx(facts.bytes_per_parameter, rel=0.02)


def test_a_million_parameters_take_no_more_than_the_bars() -> None:
    count = 1_000_000
    assert keyed_engine("BFV").engine.facts.max_ciphertext_bytes(count) / count <= 4.1
    assert keyed_engine("BFV-public").engine.facts.max_ciphertext_bytes(count) / count <= 7.8


def test_exactness_is_declared(keyed: Keyed) -> None:
    assert keyed.engine.facts.error_steps == 0
    assert keyed.engine.facts.margin_steps < 1 / 2


# --- what is refused ---


def test_points_that_no_lane_holds_are_refused(keyed: Keyed) -> None:
    limit = keyed.engine.facts.lane_limit
    for value in (limit + 1, -limit - 1, np.iinfo(np.int64).min):
        with pytest.raises(PointOutOfRange):
            keyed.engine.encrypt(keyed.key, np.array([0, value, 0], np.int64))
    keyed.engine.encrypt(keyed.key, np.array([limit, -limit], np.int64))
    with pytest.raises(CountMismatch):
        keyed.engine.encrypt(keyed.key, np.zeros(0, np.int64))
    with pytest.raises(TypeError):
        keyed.engine.encrypt(keyed.key, np.zeros(3))  # type: ignore[arg-type]


def test_more_summands_than_declared_are_refused(keyed: Keyed) -> None:
    upload = keyed.engine.encrypt(keyed.key, np.zeros(2, np.int64))
    most = keyed.engine.facts.most_clients
    with pytest.raises(TooManyCiphertexts):
        keyed.engine.add(itertools.repeat(upload, most + 1), 2)
    with pytest.raises(TooManyCiphertexts):
        keyed.engine.add([], 2)


def broken(upload: bytes, total: bytes) -> dict[str, bytes]:
    """Uploads that are none; what could be read as another header comes first."""
    header, body = upload[:HEADER_BYTES], upload[HEADER_BYTES:]
    return {
        "empty": b"",
        "header alone": header,
        "truncated": upload[:-1],
        "half": upload[: len(upload) // 2],
        "longer": upload + b"\0",
        "another magic": b"X" + upload[1:],
        "unknown scheme": upload[:4] + b"\x09" + upload[5:],
        "unknown form": upload[:5] + b"\x09" + upload[6:],
        "reserved bytes": upload[:6] + b"\1\0" + upload[8:],
        "another count": header[:12] + (7).to_bytes(8, "little") + body,
        "huge count": header[:12] + b"\xff" * 8 + body,
        "three summands": header[:8] + (3).to_bytes(4, "little") + body,
        "a total": total,
        "numbers over their bound": header + (b"\x7f" if header[4] == 0 else b"\xff") * len(body),
        "noise": np.random.default_rng(0).bytes(len(upload)),
    }


def test_what_is_no_upload_is_refused_and_changes_nothing(keyed: Keyed) -> None:
    count = 300
    points = keyed.points(count, clients=2)
    first, second = (keyed.engine.encrypt(keyed.key, each) for each in points)
    total = keyed.engine.add([first, second], count)
    for name, bad in broken(first, total).items():
        with pytest.raises(CiphertextInvalid):
            keyed.engine.add([first, bad], count)
        adding = keyed.engine.totalling(count)  # type: ignore[attr-defined]
        adding.add(first)
        with pytest.raises(CiphertextInvalid):
            adding.add(bad)
        adding.add(second)
        assert adding.total() == total, name


def test_what_is_no_total_is_not_decrypted(keyed: Keyed) -> None:
    count = 300
    (points,) = keyed.points(count)
    upload = keyed.engine.encrypt(keyed.key, points)
    total = keyed.engine.add([upload], count)
    most = keyed.engine.facts.most_clients
    bad = broken(total, upload)
    bad |= {
        "no summands": total[:8] + bytes(4) + total[12:],
        "three summands": total[:8] + (most + 1).to_bytes(4, "little") + total[12:],
    }
    for name, content in bad.items():
        with pytest.raises((CiphertextInvalid, DecryptionImplausible)):
            keyed.engine.decrypt(keyed.key, content, count)
        assert name


def test_a_ciphertext_of_another_scheme_is_refused(keyed: Keyed) -> None:
    for name in ("None", *ENCRYPTING):
        other = keyed_engine(name)
        if other is keyed:
            continue
        upload = other.engine.encrypt(other.key, np.zeros(300, np.int64))
        with pytest.raises(CiphertextInvalid):
            keyed.engine.add([upload], 300)


def test_another_key_is_noticed(encrypting: Keyed) -> None:
    for count in (1, encrypting.engine.facts.slots):
        total = encrypting.total(encrypting.points(count, clients=2))
        other = encrypting.engine.round_key(encrypting.engine.keygen(), 7)
        with pytest.raises(DecryptionImplausible):
            encrypting.engine.decrypt(other, total, count)


def test_uploads_under_two_keys_do_not_decrypt(encrypting: Keyed) -> None:
    other = encrypting.engine.round_key(encrypting.engine.keygen(), 7)
    points = np.zeros(5, np.int64)
    uploads = [encrypting.engine.encrypt(key, points) for key in (encrypting.key, other)]
    with pytest.raises(DecryptionImplausible):
        encrypting.engine.decrypt(encrypting.key, encrypting.engine.add(uploads, 5), 5)


def test_a_flipped_bit_is_refused_or_decrypts_to_nothing_plausible(encrypting: Keyed) -> None:
    """No ciphertext is authenticated by itself (signatures over digests do that), but damage is no quiet error.

    The 20 lowest bits of a coefficient are below the error that decryption takes away: a flip there changes nothing.
    """
    upload = encrypting.engine.encrypt(encrypting.key, np.zeros(5, np.int64))
    third_byte, last_byte = HEADER_BYTES + 3, len(upload) - 1
    for at in (third_byte, HEADER_BYTES + 4 * 4095 + 3, last_byte):
        bad = bytearray(upload)
        bad[at] ^= 0x20
        with pytest.raises((CiphertextInvalid, DecryptionImplausible)):
            encrypting.engine.decrypt(encrypting.key, encrypting.engine.add([bytes(bad)], 5), 5)


def test_a_key_that_is_none_is_refused(keyed: Keyed) -> None:
    points = np.zeros(3, np.int64)
    total = keyed.total([points])
    foreign = keyed_engine("CKKS" if keyed.engine.facts.scheme != "CKKS" else "BFV").key
    for bad in (b"", keyed.key[:-1], keyed.key + b"\0", b"X" + keyed.key[1:], foreign):
        with pytest.raises(KeyInvalid):
            keyed.engine.encrypt(bad, points)
        with pytest.raises(KeyInvalid):
            keyed.engine.decrypt(bad, total, 3)
        with pytest.raises(KeyInvalid):
            keyed.engine.round_key(bad, 1)


# --- keys ---


def test_two_ciphertexts_of_the_same_points_differ_everywhere(encrypting: Keyed) -> None:
    points = np.zeros(encrypting.engine.facts.slots * 2, np.int64)
    first, second = (encrypting.engine.encrypt(encrypting.key, points)[HEADER_BYTES:] for _ in range(2))
    chunk = encrypting.engine.facts.upload_chunk_bytes
    parts = [blob[at : at + chunk] for blob in (first, second) for at in (0, chunk)]
    assert len({part[-64:] for part in parts}) == 4  # seeds, or the ends of c1
    assert len({part[:64] for part in parts}) == 4


def test_keys_are_new_and_their_fingerprints_commit_to_all_of_them(keyed: Keyed) -> None:
    keys = [keyed.engine.keygen() for _ in range(3)]
    assert len(set(keys)) == 3
    changed = [keys[0][:at] + bytes([keys[0][at] ^ 1]) + keys[0][at + 1 :] for at in range(len(keys[0]))]
    assert len({fingerprint(key) for key in (*keys, *changed)}) == 3 + len(changed)
    assert fingerprint(keys[0]) == fingerprint(keys[0])
    assert fingerprint(keys[0]).startswith("sha256:")
    assert len(fingerprint(keys[0])) == 71


def test_every_holder_derives_the_same_key_of_a_round(keyed: Keyed) -> None:
    other = keyed_engine("BFV-public") if keyed.engine.facts.upload_chunk_bytes == 81920 else keyed
    engine = other.engine if other is not keyed else engine_of(keyed.engine.facts.scheme)
    assert engine.round_key(keyed.job, 7) == keyed.key


def test_a_seed_that_expands_to_another_key_here_is_refused(encrypting: Keyed) -> None:
    """As on a machine whose SEAL draws something else from the same seed."""
    elsewhere = encrypting.job[:-1] + bytes([encrypting.job[-1] ^ 1])
    with pytest.raises(KeyInvalid, match="another key"):
        encrypting.engine.round_key(elsewhere, 1)
