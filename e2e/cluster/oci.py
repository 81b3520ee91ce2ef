"""Writes and reads image archives (OCI layout in a tar).

Used by the local back end for its pause image and for loading. Writing one by hand needs no image builder and
always gives the same bytes, hence the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(
    path: Path, name: str, files: Mapping[str, tuple[bytes, int]], *, entrypoint: Sequence[str], user: str
) -> str:
    """Write an image of a few files and return its manifest's digest.

    Args:
        name: full reference with a tag.
        files: content and mode by path inside the image.
    """
    layer = _tar(dict(sorted(files.items())))
    config = _json(
        {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    described = _descriptor(_MANIFEST, manifest)
    described["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    members = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    members["index.json"] = _json({"schemaVersion": 2, "manifests": [described]})
    for blob in (layer, config, manifest):
        members[f"blobs/sha256/{_digest(blob)[7:]}"] = blob
    path.write_bytes(_tar({inner: (content, 0o644) for inner, content in members.items()}))
    return _digest(manifest)


def digests(path: Path) -> set[str]:
    """The manifests that an OCI archive names; empty for a docker-archive, whose manifests are made on import."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.removeprefix("./") == "index.json":
                handle = archive.extractfile(member)
                assert handle is not None
                return {each["digest"] for each in json.load(handle)["manifests"]}
            if member.name == "manifest.json":
                return set()
    return set()


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for inner, (content, mode) in files.items():
            info = tarfile.TarInfo(inner)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
