"""Another version of an image, for upgrade tests: one more layer with changed files, put into the OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from e2e.harness.install import Image

_LAYER = "application/vnd.oci.image.layer.v1.tar"


def with_files(image: Image, target: Path, files: dict[str, bytes]) -> Image:
    """`image` with `files` (absolute path in the image -> content) on top, as an archive of its own.

    Source of the format: OCI image specification 1.1, image layout.
    """
    with tarfile.open(image.archive) as old:
        index = _read_json(old, "index.json")
        manifest = _read_json(old, _blob(index["manifests"][0]["digest"]))
        config = _read_json(old, _blob(manifest["config"]["digest"]))
        layer = _layer(files)
        config["rootfs"]["diff_ids"].append(_digest(layer))
        config.setdefault("history", []).append({"created_by": "e2e.harness.variant"})
        config_bytes = json.dumps(config).encode()
        manifest["config"] = {**manifest["config"], "digest": _digest(config_bytes), "size": len(config_bytes)}
        manifest["layers"].append({"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)})
        manifest_bytes = json.dumps(manifest).encode()
        entry = index["manifests"][0]
        index["manifests"] = [{**entry, "digest": _digest(manifest_bytes), "size": len(manifest_bytes)}]
        blobs = {_blob(_digest(data)): data for data in (layer, config_bytes, manifest_bytes)}
        with tarfile.open(target, "w") as new:
            for member in old:
                if member.isfile() and member.name.lstrip("./") != "index.json":
                    new.addfile(member, old.extractfile(member))
            for name, data in {**blobs, "index.json": json.dumps(index).encode()}.items():
                _add(new, name, data)
    return Image(image.name, f"{image.repository}@{_digest(manifest_bytes)}", target)


def _layer(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path, content in files.items():
            _add(layer, path.lstrip("/"), content)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(content))


def _read_json(archive: tarfile.TarFile, name: str) -> Any:
    for candidate in (name, f"./{name}"):
        try:
            stream = archive.extractfile(candidate)
        except KeyError:
            continue
        if stream:
            return json.loads(stream.read())
    raise KeyError(name)


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
