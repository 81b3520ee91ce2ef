"""Files that survive a crash. Used by checkpoints, model files and the launcher's journal."""

import os
from pathlib import Path


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
