"""A model file (safetensors) as `hanse model show` and `get` see it: header and digest, standard library only."""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanse.cli.errors import ModelError

_HEADER_LIMIT: Final = 100_000_000
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class ModelHeader:
    """The metadata, and for each array its dtype and shape."""

    metadata: dict[str, str]
    arrays: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def parameters(self) -> int:
        """Number of values in all arrays."""
        total = 0
        for _, shape in self.arrays.values():
            size = 1
            for extent in shape:
                size *= extent
            total += size
        return total


def read_header(path: Path) -> ModelHeader:
    """The header of a safetensors file. Raises `ModelError`."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("the header's length is out of range")
            raw: dict[str, Any] = json.loads(file.read(length))
        metadata = {str(k): str(v) for k, v in raw.pop("__metadata__", {}).items()}
        arrays = {name: (str(a["dtype"]), tuple(int(n) for n in a["shape"])) for name, a in raw.items()}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "Check the path.") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}", "Fetch it again: hanse model get JOB."
        ) from error
    return ModelHeader(metadata, arrays)


def file_digest(path: Path) -> str:
    """`sha256:…` of the file's bytes, as in status.model.digest."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"
