"""What several of the gate's tests start with."""

from pathlib import Path

import pytest

from tests.unit.runtime.gate.private_pod import Pod


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A gate of a private job of unit Silo."""
    return Pod(tmp_path)
