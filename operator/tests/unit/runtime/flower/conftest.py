"""Jobs of the encrypted round loop's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.runtime.flower.gates import Scene, quick, scene

Make = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a job; each has a directory of its own."""
    workers, made = quick(monkeypatch), list[Scene]()

    def new(clients: int = 3, **settings: object) -> Scene:
        made.append(scene(tmp_path / str(len(made)), workers, clients, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:
        one.job.close()
