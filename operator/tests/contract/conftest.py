"""A real SuperLink for the tests of one module, and what drives it as the launcher and the aggregator do."""

import tempfile
from collections.abc import Iterator

import pytest

from tests.contract.runtime.gate.pod import Driver
from tests.contract.runtime.server.rig import Rig, superlink


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """With the module's number of CLIENTS."""
    with superlink(tmp_path_factory.mktemp("job"), clients=request.module.CLIENTS) as rig:
        yield rig


@pytest.fixture(scope="module")
def driver(rig: Rig) -> Iterator[Driver]:
    """A Flower run, open until the module's last test."""
    driver = Driver(rig)
    yield driver
    driver.close()


@pytest.fixture
def short_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`hanse run` keeps its sockets below TMPDIR; a socket's path is 107 bytes at most, pytest's own is longer."""
    with tempfile.TemporaryDirectory(prefix="run-") as short:
        monkeypatch.setenv("TMPDIR", short)
        yield
