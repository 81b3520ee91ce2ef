"""Messages: what is sent, what comes back, and that their length tells nothing."""

import itertools

import numpy as np
import pytest

from hanse.api.compression import Compression
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.codec import (
    Codec,
    CodecError,
    MessageError,
    NoiseMissingError,
    NotFiniteError,
    attempt_of,
)
from hanse.runtime.codec.rounding import norm, project
from hanse.runtime.noise import NoiseError, ReleaseNoise
from tests.unit.runtime.codec.plans import NoNoise, compression, layout, plan, seed, update
from tests.unit.runtime.noise.streams import fixed

SIZE = 400
PLANS = {"none": None, "silo": plan("Silo", 0.5, 1.0), "record": plan("Record", 0.5, 1.0)}
COMPRESSIONS = {
    "plain": None,
    "15": compression(15),
    "8": compression(8),
    "sparse": compression(None, "0.1"),
    "15 sparse": compression(15, "0.1"),
    "8 sparse": compression(8, "0.05"),
}


def codecs() -> list[Codec]:
    """Every combination that is not refused."""
    found = []
    for chosen, smaller in itertools.product(PLANS.values(), COMPRESSIONS.values()):
        try:
            found.append(Codec.of(layout(SIZE), seed(), chosen, smaller))
        except CodecError:
            assert chosen is not None
            assert smaller is not None
            assert smaller.quantization_bits == 8
    return found


def label(codec: Codec) -> str:
    """For pytest -v."""
    return f"{codec.grid.unit if codec.grid else 'none'}-{codec.bits}-{codec.kept}"


def noise_for(codec: Codec, name: str = "noise") -> ReleaseNoise | None:
    return None if codec.grid is None else ReleaseNoise(fixed(name))


def silent(codec: Codec) -> ReleaseNoise | None:
    """No noise at all, to see what is under it."""
    return None if codec.grid is None else ReleaseNoise(NoNoise())


def test_all_but_8_bits_with_noise_are_possible() -> None:
    assert len(codecs()) >= 3 * len(COMPRESSIONS) - 4


@pytest.mark.parametrize("codec", codecs(), ids=label)
def test_every_message_has_the_same_length(codec: Codec) -> None:
    vectors = [np.zeros(SIZE), update(SIZE, 1e-9), update(SIZE, 0.7), update(SIZE, 1e6), np.full(SIZE, 1e30)]
    vectors.append(np.eye(SIZE)[3])
    lengths = {len(codec.encode(vector, noise_for(codec)).message) for vector in vectors}
    assert lengths == {codec.message_bytes}


@pytest.mark.parametrize("codec", codecs(), ids=label)
def test_what_is_sent_comes_back(codec: Codec) -> None:
    vector = update(SIZE, 0.9)
    received = codec.decode(codec.encode(vector, silent(codec)).message)
    sent = np.flatnonzero(received)
    expected = vector * codec.amplification
    step = codec.grid.step if codec.grid else np.max(np.abs(vector)) / 100
    assert np.max(np.abs(received[sent] - expected[sent])) <= codec.amplification * step * 0.51
    assert codec.kept - 3 <= len(sent) <= codec.kept


def test_without_privacy_full_width_is_float32() -> None:
    codec = Codec.of(layout(SIZE), seed(), None)
    vector = update(SIZE, 3.0)
    assert np.array_equal(codec.decode(codec.encode(vector).message), vector.astype(np.float32).astype(np.float64))


@pytest.mark.parametrize("smaller", [compression(8), compression(15), compression(None, "0.2"), compression(8, "0.2")])
def test_compression_is_unbiased(smaller: Compression) -> None:
    """The mean over releases is the update itself: 6.5 standard errors in each of 40 entries."""
    vector = update(40, 1.0)
    rounds = 600
    received = []
    for number in range(1, rounds + 1):
        codec = Codec.of(layout(40), seed(number), None, smaller)
        received.append(codec.decode(codec.encode(vector).message))
    spread = np.std(received, axis=0) / rounds**0.5
    assert np.all(np.abs(np.mean(received, axis=0) - vector) < 6.5 * spread + 1e-12)


def test_rounding_on_the_private_grid_is_unbiased() -> None:
    """Updates far below one step survive: without a dither they would all be rounded to zero."""
    multipliers = [5.0] * 300
    job = plan("Silo", *multipliers)
    vector = np.zeros(SIZE)
    vector[:] = Codec.of(layout(SIZE), seed(), job, compression(15)).grid.step * 0.2  # type: ignore[union-attr]
    received = []
    for number in range(1, 301):
        codec = Codec.of(layout(SIZE), seed(number), job, compression(15))
        received.append(codec.decode(codec.encode(vector, silent(codec)).message))
    step = codec.grid.step  # type: ignore[union-attr]
    assert abs(np.mean(received) - 0.2 * step) < 6.5 * step * 0.5 / (300 * SIZE) ** 0.5


@pytest.mark.parametrize("name", ["silo", "record"])
def test_the_noise_is_that_of_the_grid(name: str) -> None:
    codec = Codec.of(layout(20_000), seed(2), PLANS[name])
    assert codec.grid is not None
    received = codec.decode(codec.encode(np.zeros(20_000), noise_for(codec)).message)
    spread = received.std() / (codec.grid.sigma * codec.grid.step)
    assert abs(spread - 1) < 6.5 / (2 * 20_000) ** 0.5


def test_a_rounds_noise_is_its_own_multiplier() -> None:
    job = plan("Silo", 0.5, 2.0)
    grids = [Codec.of(layout(10), seed(number), job).grid for number in (1, 2)]
    assert [grid.sigma / grid.sensitivity for grid in grids if grid] == pytest.approx([0.5, 2.0])
    with pytest.raises(CodecError):
        Codec.of(layout(10), seed(3), job)


def test_a_silo_is_clipped() -> None:
    codec = Codec.of(layout(SIZE), seed(), plan("Silo", 1.0, clip="0.25"))
    vector = update(SIZE, 40.0)
    received = codec.decode(codec.encode(vector, silent(codec)).message)
    assert norm(received) == pytest.approx(0.25, rel=1e-3)
    assert np.allclose(received, project(vector, 0.25), atol=codec.grid.step)  # type: ignore[union-attr]


@pytest.mark.parametrize("vector", [np.full(SIZE, 1.7e308), np.eye(SIZE)[0] * 1.7e308, np.full(SIZE, 5e-324)])
@pytest.mark.parametrize("name", ["silo", "record"])
def test_extreme_updates_are_clipped_as_well(name: str, vector: np.ndarray) -> None:
    codec = Codec.of(layout(SIZE), seed(), PLANS[name])
    received = codec.decode(codec.encode(vector, silent(codec)).message)
    assert norm(received) <= codec.grid.norm * codec.grid.step  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", codecs(), ids=label)
def test_what_is_not_finite_is_refused(codec: Codec, bad: float) -> None:
    vector = update(SIZE, 1.0)
    vector[-1] = bad  # perhaps outside of the mask: refused all the same
    with pytest.raises(NotFiniteError):
        codec.encode(vector, noise_for(codec))


def test_an_update_beyond_float32_is_refused_without_privacy() -> None:
    with pytest.raises(NotFiniteError):
        Codec.of(layout(SIZE), seed(), None).encode(np.full(SIZE, 1e39))


def test_noise_is_needed_exactly_with_a_private_plan() -> None:
    with pytest.raises(NoiseMissingError):
        Codec.of(layout(SIZE), seed(), PLANS["silo"]).encode(np.zeros(SIZE))
    with pytest.raises(NoiseMissingError):
        Codec.of(layout(SIZE), seed(), None).encode(np.zeros(SIZE), ReleaseNoise())


def test_noise_is_used_up() -> None:
    codec = Codec.of(layout(SIZE), seed(), PLANS["silo"])
    noise = ReleaseNoise()
    codec.encode(np.zeros(SIZE), noise)
    with pytest.raises(NoiseError):
        codec.encode(np.zeros(SIZE), noise)


@pytest.mark.parametrize("codec", codecs(), ids=label)
def test_a_message_of_another_kind_is_refused(codec: Codec) -> None:
    message = codec.encode(update(SIZE, 1.0), noise_for(codec)).message
    other = message.copy()
    other[0] += 1
    wrong = [message[:-1], np.append(message, np.uint8(0)), message.astype(np.int8), message.reshape(1, -1), other]
    for bad in wrong:
        with pytest.raises(MessageError):
            codec.decode(bad)


@pytest.mark.parametrize("smaller", [None, compression(8)], ids=["values", "scales"])
def test_a_message_with_nan_is_refused(smaller: Compression | None) -> None:
    codec = Codec.of(layout(SIZE), seed(), None, smaller)
    message = codec.encode(update(SIZE, 1.0)).message.copy()
    message[4:12] = 255
    with pytest.raises(MessageError):
        codec.decode(message)


def test_the_attempt_is_in_the_header() -> None:
    codec = Codec.of(layout(SIZE), seed(1, 2), plan("Silo", 1.0, attempts=3))
    assert attempt_of(codec.encode(np.zeros(SIZE), noise_for(codec)).message) == 2
    with pytest.raises(MessageError):
        attempt_of(np.zeros(3, np.uint8))


def test_attempts_have_other_dithers_and_masks() -> None:
    job, smaller = plan("Silo", 1.0, attempts=2), compression(None, "0.5")
    vector = update(SIZE, 1.0)
    first, second = (
        codec.decode(codec.encode(vector, silent(codec)).message)
        for codec in (Codec.of(layout(SIZE), seed(1, attempt), job, smaller) for attempt in (1, 2))
    )
    assert not np.array_equal(first != 0, second != 0)


def test_the_mask_is_before_the_clip() -> None:
    codec = Codec.of(layout(SIZE), seed(), plan("Silo", 1.0), compression(None, "0.25"))
    received = codec.decode(codec.encode(update(SIZE, 100.0), silent(codec)).message)
    assert norm(received) == pytest.approx(SIZE / codec.kept, rel=1e-3)


# --- error feedback --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [None, plan("Silo", *[0.5] * 40)], ids=["none", "silo"])
@pytest.mark.parametrize("smaller", [compression(None, "0.2", feedback=True), compression(15, "0.2", feedback=True)])
def test_feedback_sends_what_was_left_out(job: PrivacyPlan | None, smaller: Compression) -> None:
    vector = update(SIZE, 0.02)
    carried, total = None, np.zeros(SIZE)
    for number in range(1, 41):
        codec = Codec.of(layout(SIZE), seed(number), job, smaller)
        encoded = codec.encode(vector, silent(codec), carried)
        carried = encoded.carried
        total += codec.decode(encoded.message)
    assert carried is not None
    # Nothing is lost: what came and what is still to come is what was put in.
    assert np.allclose(total + carried, 40 * vector, atol=1e-4)
    assert norm(carried) < 20 * norm(vector)


def test_feedback_carries_no_noise() -> None:
    codec = Codec.of(layout(SIZE), seed(), plan("Silo", 1.0), compression(None, "0.2", feedback=True))
    loud, quiet = (codec.encode(update(SIZE, 1.0), noise).carried for noise in (noise_for(codec), silent(codec)))
    assert loud is not None
    assert quiet is not None
    assert np.array_equal(loud, quiet)


def test_what_is_carried_is_clipped_with_the_next_update() -> None:
    codec = Codec.of(layout(SIZE), seed(), plan("Silo", 1.0), compression(None, "0.2", feedback=True))
    encoded = codec.encode(update(SIZE, 1.0), silent(codec), carried=update(SIZE, 1e6, 1))
    assert norm(codec.decode(encoded.message)) <= 1.001
    assert encoded.carried is not None
    assert norm(encoded.carried) < 10  # the clip's loss is not carried on


def test_without_feedback_nothing_is_carried() -> None:
    codec = Codec.of(layout(SIZE), seed(), None, compression(8))
    assert codec.encode(update(SIZE, 1.0)).carried is None
    same = codec.encode(update(SIZE, 1.0), carried=update(SIZE, 9.0))
    assert np.array_equal(same.message, codec.encode(update(SIZE, 1.0)).message)


def test_feedback_is_refused_for_records() -> None:
    with pytest.raises(CodecError, match="error feedback"):
        Codec.of(layout(SIZE), seed(), PLANS["record"], compression(15, feedback=True))
