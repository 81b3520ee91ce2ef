"""Keys that are the same in every run, so that an attack's luck is, too; everything else is the gate's own."""

import zlib
from itertools import count

import pytest

from hanse.runtime.noise import ReleaseNoise
from tests.unit.runtime.noise.streams import fixed


@pytest.fixture(autouse=True)
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key for each release of a test."""
    numbers = count()
    name = f"{zlib.crc32(request.node.name.encode()):08x}"

    def noise() -> ReleaseNoise:
        return ReleaseNoise(fixed(f"{name}-{next(numbers)}"))

    monkeypatch.setattr("hanse.runtime.gate.updates.ReleaseNoise", noise)
