"""npz images: every layout becomes [n, c, h, w] in 0..1; each fault is named without a value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.participant import DatasetSchema
from hanse.runtime.apps import DatasetError
from hanse.runtime.apps.images import Images, read_images

SCHEMA = DatasetSchema(id="ids", label="labels", features=["images"])
PIXELS = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
LABELS = np.array([0, 2, 1], np.uint8)


def write(folder: Path, **arrays: Any) -> Path:
    named = {"images": PIXELS, "labels": LABELS, "ids": np.array([5, 6, 7])} | arrays
    np.savez(folder / "scans.npz", **{name: array for name, array in named.items() if array is not None})
    return folder / "scans.npz"


def read(path: Path, schema: DatasetSchema = SCHEMA, channels: int = 1) -> Images:
    return read_images(path, schema, channels=channels, size=8, classes=3)


def test_whole_numbers_are_scaled_and_channels_added(tmp_path: Path) -> None:
    images = read(write(tmp_path))
    assert images.pixels.shape == (3, 1, 8, 8)
    np.testing.assert_array_equal(images.pixels[:, 0], PIXELS.astype(np.float32) / np.float32(255))
    assert images.labels.tolist() == [0, 2, 1]
    assert images.ids == ("5", "6", "7")


def test_colours_come_last_or_first_and_labels_may_be_a_column(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).random((3, 8, 8, 3))
    last = read(write(tmp_path, images=colours, labels=LABELS[:, None]), channels=3)
    first = read(write(tmp_path, images=colours.transpose(0, 3, 1, 2)), channels=3)
    np.testing.assert_array_equal(last.pixels, first.pixels)
    assert last.pixels.shape == (3, 3, 8, 8)
    assert last.labels.tolist() == [0, 2, 1]


def test_without_names_the_array_is_images_and_the_position_is_the_id(tmp_path: Path) -> None:
    assert read(write(tmp_path, ids=None), DatasetSchema(label="labels")).ids == ("0", "1", "2")


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "array": (lambda d: write(d, images=None, image=PIXELS), "array images is not in the dataset; did you mean image"),
    "size": (lambda d: write(d, images=PIXELS[:, :7, :7]), "images are 1x7x7 .* asks for 1x8x8"),
    "channels": (lambda d: write(d, images=np.zeros((3, 8, 8, 3))), "images are 3x8x8 .* asks for 1x8x8"),
    "dimensions": (lambda d: write(d, images=np.zeros((3, 64))), "3 or 4 dimensions"),
    "text": (lambda d: write(d, images=np.full((3, 8, 8), "x")), "not an array of numbers"),
    "label": (lambda d: write(d, labels=np.array([0, 1, 3])), "label array labels .* whole numbers below 3"),
    "float label": (lambda d: write(d, labels=np.array([0.0, 1, 2])), "label array labels"),
    "length": (lambda d: write(d, labels=LABELS[:2]), "different length"),
    "empty": (lambda d: write(d, images=PIXELS[:0], labels=LABELS[:0], ids=LABELS[:0]), "no image"),
    "not finite": (lambda d: write(d, images=np.full((3, 8, 8), np.nan)), "not finite"),
    "pickled": (lambda d: write(d, labels=np.array([{}, 1, 2], object)), "cannot be read as npz"),
    "bytes": (lambda d: (d / "x.npz").write_bytes(b"PK\x03\x04nothing") and d / "x.npz", "cannot be read as npz"),
    "npy": (lambda d: np.save(d / "x.npy", PIXELS) or d / "x.npy", "cannot be read as npz"),
    "nothing": (lambda d: d / "scans.npz", "does not exist"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_fault_is_named(case: tuple[Callable[[Path], Path], str], tmp_path: Path) -> None:
    make, message = case
    with pytest.raises(DatasetError, match=message):
        read(make(tmp_path))


def test_two_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="one array"):
        read(write(tmp_path), DatasetSchema(label="labels", features=["images", "more"]))
