"""Reads a dataset of images (npz: one array of images, one of labels, maybe one of ids) for the vision app.

As in `table`, a DatasetError names arrays and shapes, never a value.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hanse.api.participant import DatasetSchema
from hanse.runtime.aggregation.convolution import as_pixels
from hanse.runtime.apps import DatasetError
from hanse.runtime.apps.near import hint


@dataclass(frozen=True)
class Images:
    """float32 [n, channels, height, width] in 0..1, int64 [n], and an id for each image."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]


def read_images(path: Path, schema: DatasetSchema, *, channels: int, size: int, classes: int) -> Images:
    """The arrays that `schema` names (`images` and the label without features), checked. Raises DatasetError."""
    if len(schema.features) > 1:
        raise DatasetError("the schema of an image dataset names one array as its only feature")
    arrays = _read(path, schema.features[0] if schema.features else "images", schema)
    pixels, labels = _pixels(arrays[0], size), arrays[1]
    if pixels.shape[1:] != (channels, size, size):
        got = "x".join(str(n) for n in pixels.shape[1:])
        raise DatasetError(f"images are {got} (channels, height, width), the job asks for {channels}x{size}x{size}")
    if len(labels) == 0:
        raise DatasetError("the dataset has no image")
    if len({len(a) for a in arrays}) != 1:
        raise DatasetError("images, labels and ids are of different length")
    if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= classes:
        raise DatasetError(f"label array {schema.label} holds something else than whole numbers below {classes}")
    ids = arrays[2] if len(arrays) > 2 else np.arange(len(labels))
    return Images(pixels, labels.astype(np.int64), tuple(str(i) for i in ids.tolist()))


def _pixels(images: NDArray[Any], size: int) -> NDArray[np.float32]:
    try:
        pixels = as_pixels(images, size)
    except ValueError as error:
        raise DatasetError(str(error)) from error
    if not np.isfinite(pixels).all():
        raise DatasetError("the images hold values that are not finite")
    return pixels


def _read(path: Path, images: str, schema: DatasetSchema) -> list[NDArray[Any]]:
    if not path.exists():
        raise DatasetError("the dataset's path does not exist")
    wanted = [images, schema.label, *([schema.id] if schema.id else [])]
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in wanted:
                if name not in file.files:
                    raise DatasetError(f"array {name} is not in the dataset{hint(name, file.files)}")
            first, *others = (np.atleast_1d(file[name]) for name in wanted)
    # numpy's words may quote the file; TypeError: a plain .npy is no archive.
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path.name} cannot be read as npz without pickled objects") from error
    return [first, *(other.reshape(len(other), -1)[:, 0] if other.ndim > 1 else other for other in others)]
