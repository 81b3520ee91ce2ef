"""What the tests of privacy start with: a server and three gates in memory, or a place to run a private job in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.privacy.hostile import Hostile, watching
from tests.contract.privacy.workspace import Workspace
from tests.unit.runtime.gate.encrypted_fleet import Fleet


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hostile]:
    decrypted: list[tuple[int, NDArray[np.int64]]] = []
    fleet = Fleet(tmp_path, workers=watching(decrypted))
    yield Hostile(fleet, decrypted)
    fleet.close()


@pytest.fixture
def workspace(tmp_path: Path, short_tmp: None) -> Workspace:
    """For a private job of two banks."""
    return Workspace(tmp_path)
