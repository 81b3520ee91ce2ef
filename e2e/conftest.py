"""One cluster, one installation and three owners for all end-to-end tests; each test has jobs of its own.

HANSE_E2E_BACKEND chooses the back end (kind, local, existing); without it kind where Docker answers, else local.
HANSE_E2E_KEEP=1 keeps the cluster for the next run.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import binaries
from e2e.cluster.backend import Cluster, CreateOptions
from e2e.cluster.registry import open_cluster
from e2e.harness import install, objects
from e2e.harness.federation import Federation
from e2e.harness.install import choose_backend
from e2e.harness.kube import Kube

OWNERS = ["bank-a", "bank-b", "bank-c"]
COUNTING_DATA = "value\n1\n2\n3\n"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that is up."""
    found = open_cluster(os.environ.get("HANSE_E2E_CLUSTER", "e2e"), choose_backend(), report=print)
    found.create(CreateOptions())
    yield found
    if not os.environ.get("HANSE_E2E_KEEP"):
        found.delete()


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, install.Image]:
    """The images, built and in the cluster."""
    built = install.build_images()
    cluster.load_images([image.archive for image in built.values()])
    return built


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """kubectl on the cluster."""
    return Kube(binaries.ensure(["kubectl"])["kubectl"], cluster.kubeconfig())


@pytest.fixture(scope="session")
def installed(kube: Kube, images: dict[str, install.Image], tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """Hanse installed by its chart; three owners, each with a small dataset for the counting app."""
    kube.apply(objects.namespace(objects.COORDINATOR), *(objects.namespace(owner) for owner in OWNERS))
    install.install_chart(kube, binaries.ensure(["helm"])["helm"], install.helm_values(images, OWNERS))
    data: Path = tmp_path_factory.mktemp("data") / "numbers.csv"
    data.write_text(COUNTING_DATA)
    for owner in OWNERS:
        install.load_data(kube, owner, "numbers", [data], images["trainer-cpu"].ref)
        kube.apply(objects.participant(owner, [objects.dataset("numbers", "numbers", "numbers.csv")]))
    return kube


@pytest.fixture
def federation(installed: Kube, images: dict[str, install.Image]) -> Iterator[Federation]:
    """Jobs of one test; afterwards nothing of them may be left in any namespace."""
    found = Federation(installed, images["trainer-cpu"].ref)
    yield found
    found.close()


@pytest.fixture
def name() -> str:
    """A job name of this test's own."""
    return f"t-{uuid.uuid4().hex[:6]}"
