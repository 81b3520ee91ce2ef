"""One cluster, one installation and three owners for all end-to-end tests; each test has jobs of its own.

HANSE_E2E_BACKEND chooses the back end (kind, local, existing); without it kind where Docker answers, else local.
HANSE_E2E_KEEP=1 keeps the cluster for the next run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from e2e.cluster.backend import Cluster
from e2e.harness import session
from e2e.harness.federation import Federation
from e2e.harness.install import Image
from e2e.harness.kube import Kube
from e2e.harness.session import OWNERS

__all__ = ["OWNERS"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pods start in seconds, not milliseconds: every test here gets more time than a unit test."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that is up."""
    with session.cluster_up() as found:
        yield found


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, Image]:
    """The images, built and in the cluster."""
    return session.load_images(cluster)


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """kubectl on the cluster."""
    return session.kubectl(cluster)


@pytest.fixture(scope="session")
def installed(kube: Kube, images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """Hanse installed by its chart; three owners, each with a small dataset for the counting app."""
    session.install_hanse(kube, images, tmp_path_factory.mktemp("data"))
    return kube


@pytest.fixture
def federation(installed: Kube, images: dict[str, Image]) -> Iterator[Federation]:
    """Jobs of one test; afterwards nothing of them may be left in any namespace."""
    found = Federation(installed, images["trainer-cpu"].ref)
    yield found
    found.close()


@pytest.fixture
def name() -> str:
    """A job name of this test's own."""
    return f"t-{uuid.uuid4().hex[:6]}"
