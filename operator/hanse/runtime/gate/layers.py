"""Layers that stay with the owner: declared ones, and BatchNorm's buffers under privacy. Used by both filters.

The server's model has them as they were at first; the trainer gets back what it last made of them. They lie in a
directory of the gate's container, so an app needs to know nothing of it, and a new pod starts from the first model's.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import numpy as np

from hanse.runtime.durable import replacing
from hanse.runtime.gate.content import ArrayView
from hanse.runtime.gate.npy import read_array, view_of

_FILE: Final = "local-layers.npz"

IsLocal = Callable[[str], bool]


def matches(globs: Sequence[str]) -> IsLocal:
    """Whether a name is one of those that `globs` (* and ?) mean."""
    return lambda name: any(fnmatchcase(name, glob) for glob in globs)


class LocalLayers:
    """The newest arrays that stayed."""

    def __init__(self, directory: Path, local: Sequence[str] | IsLocal) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / _FILE
        self._is_local = local if callable(local) else matches(local)
        self._kept: dict[str, ArrayView] = self._restore()

    def arrays(self) -> Mapping[str, ArrayView]:
        """What the trainer is to get in the place of the server's."""
        return self._kept

    def keep(self, arrays: Mapping[str, ArrayView]) -> dict[str, ArrayView]:
        """Keep what stays of an update; the rest is returned."""
        kept = {name: array for name, array in arrays.items() if self._is_local(name)}
        if kept:
            self._kept = kept
            # Numbered: savez has a parameter that an array may be called like.
            values = {f"{i}:{name}": read_array(name, array) for i, (name, array) in enumerate(kept.items())}
            with replacing(self._path) as file:
                np.savez(file, **values)  # type: ignore[arg-type]
        return {name: array for name, array in arrays.items() if name not in kept}

    def _restore(self) -> dict[str, ArrayView]:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                return {key.partition(":")[2]: view_of(file[key]) for key in file.files}
        except (OSError, ValueError):
            return {}
