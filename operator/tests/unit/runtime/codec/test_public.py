"""The dither and the mask: the same on both sides, of no data, different in each release."""

import hashlib

import numpy as np
import pytest

from hanse.runtime.codec import PublicSeed
from tests.unit.runtime.codec.plans import seed

DITHER = "6920bcba5d213ac40d251172fe4093f402b94152c040c623f2fdae51f61d25c6"
MASK = "d01da162f07bb33d5d837959cb081caa13002cbfe9495aa0a5e803db454669de"


def test_both_sides_and_all_versions_agree() -> None:
    """Digests of the first version: a change would break a job that is resumed with another one."""
    public = PublicSeed("sha256:00", 3, 2)
    dither = hashlib.sha256(public.dither(1000).tobytes()).hexdigest()
    mask = hashlib.sha256(public.mask(100, 1000).astype("<i8").tobytes()).hexdigest()
    assert dither == DITHER
    assert mask == MASK


def test_every_release_has_its_own() -> None:
    seeds = [PublicSeed(plan, number, attempt) for plan in ("a", "b") for number in (1, 12) for attempt in (1, 2)]
    seeds.append(PublicSeed("a", 11, 21))
    assert len({one.dither(64).tobytes() for one in seeds}) == len(seeds)
    assert len({one.mask(50, 1000).tobytes() for one in seeds}) == len(seeds)


def test_the_dither_is_uniform_and_symmetric() -> None:
    values = seed().dither(200_000)
    assert -0.5 < values.min() < -0.4999
    assert 0.4999 < values.max() < 0.5
    assert abs(values.mean()) < 6.2 * (1 / 12 / len(values)) ** 0.5
    assert abs(values.var() - 1 / 12) < 6.2 * (1 / 180 / len(values)) ** 0.5


@pytest.mark.parametrize(("keep", "size"), [(1, 1), (1, 10), (9, 10), (10, 10), (1234, 5000)])
def test_a_mask_keeps_as_many_as_it_says(keep: int, size: int) -> None:
    mask = seed().mask(keep, size)
    assert len(set(mask.tolist())) == keep
    assert np.all(np.diff(mask) > 0)
    assert 0 <= mask[0] <= mask[-1] < size


def test_a_mask_prefers_no_entry() -> None:
    rounds, keep, size = 4000, 5, 50
    hits = np.zeros(size)
    for number in range(rounds):
        hits[seed(number).mask(keep, size)] += 1
    share = keep / size
    assert np.all(np.abs(hits - rounds * share) < 6.5 * (rounds * share * (1 - share)) ** 0.5)
