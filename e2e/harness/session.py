"""A cluster with Hanse installed and three owners with a small dataset: for tests and benchmarks on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries
from e2e.cluster.backend import Cluster, CreateOptions
from e2e.cluster.registry import open_cluster
from e2e.harness import install, objects
from e2e.harness.install import Image, choose_backend
from e2e.harness.kube import Kube

OWNERS = ["city-a", "city-b", "city-c"]
#: Owners of the examples, which bring their own Participants.
OTHERS = ["bank-a", "bank-b", "bank-c", "hospital-a", "hospital-b", "clinic-a", "clinic-b"]
_DATA = "value\n1\n2\n3\n"


@dataclass(frozen=True)
class Session:
    """What is there."""

    cluster: Cluster
    kube: Kube
    images: dict[str, Image]

    @property
    def trainer(self) -> str:
        """The trainer's image, by digest."""
        return self.images["trainer-cpu"].ref


@contextmanager
def cluster_up() -> Iterator[Cluster]:
    """The cluster named by HANSE_E2E_CLUSTER (e2e), gone afterwards unless HANSE_E2E_KEEP is set."""
    cluster = open_cluster(os.environ.get("HANSE_E2E_CLUSTER", "e2e"), choose_backend(), report=print)
    cluster.create(CreateOptions())
    try:
        yield cluster
    finally:
        if not os.environ.get("HANSE_E2E_KEEP"):
            cluster.delete()


def kubectl(cluster: Cluster) -> Kube:
    """kubectl on the cluster."""
    return Kube(binaries.ensure(["kubectl"])["kubectl"], cluster.kubeconfig())


def load_images(cluster: Cluster) -> dict[str, Image]:
    """The images, built and on the cluster's nodes."""
    images = install.build_images()
    cluster.load_images([image.archive for image in images.values()])
    return images


def install_hanse(kube: Kube, images: dict[str, Image], scratch: Path) -> None:
    """The chart, and an owner's namespace, claim and Participant for each of OWNERS."""
    kube.apply(*(objects.namespace(name) for name in (objects.COORDINATOR, *OWNERS, *OTHERS)))
    values = install.helm_values(images, [*OWNERS, *OTHERS])
    install.install_chart(kube, binaries.ensure(["helm"])["helm"], values)
    data = scratch / "numbers.csv"
    data.write_text(_DATA)
    for owner in OWNERS:
        install.load_data(kube, owner, "numbers", {data.name: data}, images["trainer-cpu"].ref)
        kube.apply(objects.participant(owner, [objects.dataset("numbers", "numbers", data.name)]))


@contextmanager
def installed(scratch: Path) -> Iterator[Session]:
    """All of it, for a benchmark."""
    with cluster_up() as cluster:
        kube, images = kubectl(cluster), load_images(cluster)
        install_hanse(kube, images, scratch)
        yield Session(cluster, kube, images)
