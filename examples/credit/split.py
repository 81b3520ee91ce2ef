"""Splits the UCI credit data into three banks and a held-out set; its results are committed in `data/`.

usage: python examples/credit/split.py uci_credit.csv.gz [DIRECTORY]

Deterministic: 6,000 records with the smallest hash of their ID are held out; the rest is ordered by age, blurred by up
to ten years, and cut: bank-a has the youngest 12,000 customers, bank-b the next 7,200, bank-c the oldest 4,800.
"""

import csv
import gzip
import hashlib
import sys
from pathlib import Path

HELD_OUT = 6_000
BANKS = {"bank-a": 12_000, "bank-b": 7_200, "bank-c": 4_800}
BLUR_YEARS = 10.0

Row = list[str]


def unit_hash(record: str, purpose: str) -> float:
    """A number in [0, 1) from a record's ID."""
    digest = hashlib.sha256(f"{purpose}\0{record}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(header: Row, rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of each file, by name, in the order of the source."""
    record, age = header.index("ID"), header.index("AGE")
    by_hash = sorted(rows, key=lambda row: unit_hash(row[record], "held-out"))
    parts = {"held-out": by_hash[:HELD_OUT]}
    left = sorted(
        by_hash[HELD_OUT:],
        key=lambda row: float(row[age]) + BLUR_YEARS * (2 * unit_hash(row[record], "bank") - 1),
    )
    for bank, size in BANKS.items():
        parts[bank], left = left[:size], left[size:]
    return {name: sorted(part, key=lambda row: int(row[record])) for name, part in parts.items()}


def main(source: Path, target: Path) -> None:
    """Read `source`, write one .csv.gz a part; equal input gives equal bytes."""
    with gzip.open(source, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    target.mkdir(parents=True, exist_ok=True)
    for name, part in split(header, rows).items():
        text = "".join(",".join(row) + "\n" for row in [header, *part])
        (target / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        print(f"{name}: {len(part)} records")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else Path(__file__).with_name("data")))
