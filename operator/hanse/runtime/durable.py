"""Files that survive a crash. Used by checkpoints, model files, the launcher's journal and what a gate remembers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once the block has ended well: a process that is killed leaves no torn one.

    No fsync: for directories that end with the pod, as a gate's do.
    """
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


def sync_directory(directory: Path) -> None:
    """A rename is on disk only once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
