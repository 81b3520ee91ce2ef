"""Both doors: a directory, and a namespace of a real kube-apiserver."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import apiserver
from tests.contract.runtime.ledger.worlds import FileWorld, KubeWorld, World
from tests.integration.conftest import install_crds


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    with apiserver.running() as server:
        install_crds(server)
        yield server.kubeconfig


@pytest.fixture(params=["file", "kube"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "file":
        return FileWorld(tmp_path / "ledger")
    return KubeWorld(request.getfixturevalue("kubeconfig"), tmp_path)
