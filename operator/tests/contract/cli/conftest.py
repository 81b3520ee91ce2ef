"""A place to run a job in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli.running import left_behind


@pytest.fixture
def workspace(tmp_path: Path, short_tmp: None) -> Iterator[Path]:
    """For manifests, data and output; at the end no program of the run may be left."""
    yield tmp_path
    assert left_behind(tmp_path) == []
