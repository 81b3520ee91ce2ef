"""Files that survive a crash, and the safetensors layout; used by checkpoints and model files.

The writer is ours because the library orders a file's metadata at random: equal models must have equal digests.
"""

import json
import os
from pathlib import Path

from hanse.runtime.aggregation.arrays import Arrays, plain

_CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}


class UnsupportedDtypeError(ValueError):
    """safetensors has no code for the array's dtype."""


def safetensors_bytes(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    """The arrays in the safetensors format, a function of its arguments alone.

    Largest item size first, then by name, so that every array is aligned. Raises UnsupportedDtypeError.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    chunks: list[bytes] = []
    offset = 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        array = plain(arrays[name])
        if (code := _CODES.get(array.dtype.name)) is None:
            raise UnsupportedDtypeError(f"array {name} has dtype {array.dtype}, which a model file cannot hold")
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        chunks.append(array.tobytes())
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def replace_file(path: Path, content: bytes, *, keep: Path | None = None) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part.

    With `keep` the old file stays there. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if keep is not None and path.exists():
        path.replace(keep)
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """A rename is on disk only once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
