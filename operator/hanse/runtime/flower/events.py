"""Events from the aggregator to the launcher: one Progress a line, over an inherited pipe."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanse.api.progress import ModelFile, Progress

PIPE_VARIABLE: Final = "HANSE_EVENTS"


@dataclass(frozen=True)
class EventPipe:
    """Writing end; without a pipe (run by hand) events go nowhere."""

    descriptor: int | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "EventPipe":
        number = environment.get(PIPE_VARIABLE)
        return cls(None if number is None else int(number))

    def progress(self, progress: Progress) -> None:
        """Write the newest state. A launcher that is gone takes us with it: no error here."""
        if self.descriptor is None:
            return
        line = progress.to_json().encode() + b"\n"
        try:
            while line:
                line = line[os.write(self.descriptor, line) :]
        except BrokenPipeError:
            return


def model_file(volume: Path, path: str) -> ModelFile | None:
    """Digest and size of a model that a user's own ServerApp wrote."""
    file = volume / path
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ModelFile(path=path, digest=f"sha256:{digest}", bytes=file.stat().st_size)
