"""A server and three gates in memory, for tests of an encrypted job."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.privacy.hostile import Hostile, watching
from tests.unit.runtime.gate.encrypted_fleet import Fleet


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hostile]:
    decrypted: list[tuple[int, NDArray[np.int64]]] = []
    fleet = Fleet(tmp_path, workers=watching(decrypted))
    yield Hostile(fleet, decrypted)
    fleet.close()
