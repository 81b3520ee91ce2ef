"""Model files: safetensors with all that a prediction needs in the header.

The aggregator writes them; the CLI, the demo and the tests read them.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from hanse.api.progress import ModelFile
from hanse.runtime.aggregation.arrays import Arrays, arrays_digest
from hanse.runtime.aggregation.files import UnsupportedDtypeError, safetensors_bytes
from hanse.runtime.durable import replace_file

__all__ = ["ModelFileError", "arrays_digest", "read_model", "write_model"]


class ModelFileError(Exception):
    """A model file cannot be written or read."""


def write_model(path: Path, arrays: Arrays, metadata: dict[str, str], *, volume: Path | None = None) -> ModelFile:
    """Write the model (temporary file, fsync, rename); equal arguments give equal bytes.

    The returned path is relative to `volume` (without it, the file's name). Raises ModelFileError.
    """
    try:
        content = safetensors_bytes(arrays, metadata)
        replace_file(path, content)
    except (OSError, UnsupportedDtypeError) as error:
        raise ModelFileError(f"the model was not written: {error}") from error
    return ModelFile(
        path=path.name if volume is None else path.relative_to(volume).as_posix(),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        bytes=len(content),
    )


def read_model(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Arrays and metadata of a model file. Raises ModelFileError."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path.name} is not a readable model: {error}") from error
