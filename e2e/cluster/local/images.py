"""Brings image archives into a cluster's containerd. Used by the local back end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import oci
from e2e.cluster.backend import LoadedImage, repository
from e2e.cluster.errors import ClusterError
from e2e.cluster.local.config import PAUSE_IMAGE
from e2e.cluster.local.layout import Layout
from e2e.cluster.proc import run, which

# What every container runtime puts before a name that names no registry.
_DEFAULT_REGISTRY = "docker.io"


def ctr(layout: Layout, *arguments: str) -> str:
    """Run containerd's client against the cluster's own containerd."""
    command = [which("ctr"), f"--address={layout.containerd_socket}", "--namespace=k8s.io", *arguments]
    return run(command, timeout=900).stdout


def normalised(name: str) -> str:
    """The full form of an image's name: what a pod's `image` is turned into before it is looked up."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"{_DEFAULT_REGISTRY}/library/{name}"
    if "." in first or ":" in first or first == "localhost":
        return name
    return f"{_DEFAULT_REGISTRY}/{name}"


def parse_list(listing: str) -> list[LoadedImage]:
    """Images with a name and a digest, from `ctr images list`."""
    found = []
    for line in listing.splitlines()[1:]:
        name, _, digest, *_ = line.split()
        if not name.startswith("sha256:"):
            found.append(LoadedImage(name, digest))
    return found


def list_images(layout: Layout) -> list[LoadedImage]:
    """Each image once, by its name with a tag."""
    return [image for image in parse_list(ctr(layout, "images", "list")) if "@" not in image.name]


def load(layout: Layout, archives: Sequence[Path]) -> list[LoadedImage]:
    """Import archives and make each image known by its digest too; an OCI archive that is there already is skipped.

    Raises:
        ClusterError: an archive has no image with a name.
    """
    loaded: list[LoadedImage] = []
    for archive in archives:
        wanted = oci.digests(archive)
        everything = parse_list(ctr(layout, "images", "list"))
        before = {(image.name, image.digest) for image in everything}
        present = [
            image
            for image in everything
            if image.digest in wanted and "@" not in image.name and (image.by_digest, image.digest) in before
        ]
        if wanted and {image.digest for image in present} == wanted:
            loaded.extend(present)
            continue
        printed = ctr(layout, "images", "import", str(archive))
        after = parse_list(ctr(layout, "images", "list"))
        named = [
            image
            for image in after
            if "@" not in image.name
            and ((image.name, image.digest) not in before or f"unpacking {image.name} " in printed)
        ]
        if not named:
            raise ClusterError(f"{archive} has no image with a name:tag\n{printed}")
        loaded.extend(_alias(layout, image) for image in named)
    return loaded


def load_pause(layout: Layout) -> None:
    """Make and load the image that holds a pod's namespaces open: one static binary."""
    archive = layout.directory / "pause.tar"
    content = Path(which("catatonit")).read_bytes()
    oci.write_archive(
        archive, PAUSE_IMAGE, {"catatonit": (content, 0o755)}, entrypoint=["/catatonit", "-P"], user="65535:65535"
    )
    ctr(layout, "images", "import", str(archive))


def _alias(layout: Layout, image: LoadedImage) -> LoadedImage:
    """Add the full name and the name by digest: the kubelet asks for exactly what the pod says, in full form."""
    full = normalised(image.name)
    aliases = {full, f"{repository(full)}@{image.digest}"} - {image.name}
    ctr(layout, "images", "tag", "--force", image.name, *sorted(aliases))
    return LoadedImage(full, image.digest)
