"""`hanse model show` and `hanse model predict`."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanse.cli.errors import ModelError
from hanse.cli.modelfile import file_digest, read_header

#: Longer lists of numbers are counted, not printed.
_LIST: Final = 8


def show(file: Path, console: Console) -> None:
    """Metadata, arrays and digest of a model file."""
    header = read_header(file)
    facts = {"file": str(file), "digest": file_digest(file), "parameters": f"{header.parameters:,}"}
    for name, text in header.metadata.items():
        facts |= _facts(name, text)
    width = max(len(name) for name in facts) + 2
    for name, text in facts.items():
        console.print(f"{name:<{width}}{text}", markup=False, highlight=False, soft_wrap=True)
    arrays = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ARRAY", "DTYPE", "SHAPE"):
        arrays.add_column(column)
    for name, (dtype, shape) in header.arrays.items():
        arrays.add_row(Text(name), dtype, "x".join(str(n) for n in shape) or "scalar")
    console.print(arrays)


def _facts(name: str, text: str) -> dict[str, str]:
    """A metadata entry as lines: JSON objects one line a key, long lists of numbers counted."""
    try:
        value = json.loads(text)
    except ValueError:
        return {name: text}
    if not isinstance(value, dict):
        return {name: text}
    return {f"{name}.{key}": _short(item) for key, item in value.items()}


def _short(item: Any) -> str:
    if isinstance(item, list) and len(item) > _LIST and all(isinstance(n, int | float) for n in item):
        return f"{len(item)} numbers"
    if isinstance(item, list):
        return ", ".join(map(str, item))
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


def predict(file: Path, source: tuple[str, str], console: Console) -> None:
    """Hand the file to the runtime's numpy predictor, in a process of its own (programs do not import each other).

    `source` is the option and its value: row, csv or npz.
    """
    read_header(file)
    option, value = source
    # With `=`, so that a row that begins with a minus sign is no option.
    command = [sys.executable, "-m", "hanse.runtime.aggregation.predict", str(file), f"--{option}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        message = words[-1] if words else f"the predictor ended with {done.returncode}"
        raise ModelError(message, f"What the model takes: hanse model show {file}")
    text = _one_record(done.stdout) if option == "row" else done.stdout.rstrip()
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _one_record(table: str) -> str:
    """The predictor's CSV of a single record as `probability of default: 0.2500`."""
    header, values = list(csv.reader(table.splitlines()))[:2]
    return ", ".join(f"{name}: {value}" for name, value in list(zip(header, values, strict=True))[1:])
