"""Splits the Wisconsin breast cancer data into two clinics and a held-out set; its results are committed in `data/`.

usage: python examples/bring-your-own-app/split.py breast_cancer.csv [DIRECTORY]   (in the wheel of scikit-learn 1.9)

Deterministic: by a hash of the record's number one fifth is held out, the rest goes half and half; `all.csv` is both
clinics' together, for `flwr run` on one machine. Column id is the record's number in the source; malignant is 1.
"""

import csv
import hashlib
import sys
from pathlib import Path

MEASURED = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave-points", "symmetry", "fractal-dimension"),
]
COLUMNS = [f"{name}-{kind}" for kind in ("mean", "error", "worst") for name in MEASURED]


def part(record: int) -> str:
    """Which file a record belongs to."""
    value = hashlib.sha256(f"split\0{record}".encode()).digest()[0]
    return "held-out" if value < 51 else "clinic-a" if value < 153 else "clinic-b"


def main(source: Path, target: Path) -> None:
    """Read `source` (a line of header; 30 values and the class, where 0 is malignant, in each line)."""
    with source.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    records = [(part(number), [str(number), *row[:-1], str(1 - int(row[-1]))]) for number, row in enumerate(rows)]
    target.mkdir(parents=True, exist_ok=True)
    for name, owners in {
        "clinic-a": ["clinic-a"],
        "clinic-b": ["clinic-b"],
        "all": ["clinic-a", "clinic-b"],
        "held-out": ["held-out"],
    }.items():
        chosen = [row for owner, row in records if owner in owners]
        lines = [["id", *COLUMNS, "malignant"], *chosen]
        (target / f"{name}.csv").write_text("".join(",".join(line) + "\n" for line in lines))
        print(f"{name}: {len(chosen)} records")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else Path(__file__).with_name("data")))
