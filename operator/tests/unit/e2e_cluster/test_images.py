"""Image names and archives."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from e2e.cluster import oci
from e2e.cluster.backend import LoadedImage, repository
from e2e.cluster.local.images import normalised, parse_list

FILES = {"bin/b": (b"second", 0o755), "bin/a": (b"first", 0o644)}


def _write(path: Path) -> str:
    return oci.write_archive(path, "docker.io/hanse/x:1", FILES, entrypoint=["/bin/b"], user="1:1")


def test_an_archive_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    assert _write(tmp_path / "one.tar") == _write(tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_every_blob_is_named_after_its_content(tmp_path: Path) -> None:
    digest = _write(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        blobs = {
            name: archive.extractfile(name).read()  # type: ignore[union-attr]
            for name in archive.getnames()
            if name.startswith("blobs/")
        }
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    for name, content in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    manifest = json.loads(blobs[f"blobs/sha256/{digest[7:]}"])
    config = json.loads(blobs[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    assert index["manifests"][0]["digest"] == digest
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def test_digests_of_an_oci_archive_are_read_without_importing_it(tmp_path: Path) -> None:
    digest = _write(tmp_path / "x.tar")
    assert oci.digests(tmp_path / "x.tar") == {digest}


def test_a_docker_archive_has_no_digest_before_it_is_imported(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text("[]")
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        archive.add(manifest, "manifest.json")
    assert oci.digests(tmp_path / "d.tar") == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busybox:1", "docker.io/library/busybox:1"),
        ("hanse/trainer-cpu:dev", "docker.io/hanse/trainer-cpu:dev"),
        ("docker.io/hanse/gate:dev", "docker.io/hanse/gate:dev"),
        ("localhost/hanse/gate:dev", "localhost/hanse/gate:dev"),
        ("registry.example:5000/gate:dev", "registry.example:5000/gate:dev"),
    ],
)
def test_a_name_gets_the_form_that_the_kubelet_asks_for(name: str, expected: str) -> None:
    assert normalised(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b:1", "a/b"), ("a/b", "a/b"), ("h:5000/b", "h:5000/b"), ("h:5000/b:1", "h:5000/b"), ("b@sha256:0", "b")],
)
def test_repository_of_a_name(name: str, expected: str) -> None:
    assert repository(name) == expected


def test_a_listing_is_read_without_the_names_that_are_digests() -> None:
    listing = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "docker.io/hanse/x:1 application/vnd.oci.image.manifest.v1+json sha256:aa 2.0 MiB linux/amd64 -\n"
        "sha256:bb application/vnd.oci.image.manifest.v1+json sha256:aa 2.0 MiB linux/amd64 managed\n"
    )
    assert parse_list(listing) == [LoadedImage("docker.io/hanse/x:1", "sha256:aa")]
    assert parse_list(listing)[0].by_digest == "docker.io/hanse/x@sha256:aa"
