"""`hanse model show` and `hanse model predict`."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanse.cli.errors import ModelError
from hanse.cli.modelfile import file_digest, read_header


def show(file: Path, console: Console) -> None:
    """Metadata, arrays and digest of a model file."""
    header = read_header(file)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("file", Text(str(file)))
    facts.add_row("digest", file_digest(file))
    facts.add_row("parameters", f"{header.parameters:,}")
    for name, text in header.metadata.items():
        facts.add_row(Text(name), Text(_short(text)))
    console.print(facts)
    arrays = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ARRAY", "DTYPE", "SHAPE"):
        arrays.add_column(column)
    for name, (dtype, shape) in header.arrays.items():
        arrays.add_row(Text(name), dtype, "x".join(str(n) for n in shape) or "scalar")
    console.print(arrays)


def _short(text: str, limit: int = 300) -> str:
    """JSON compactly, long texts cut."""
    with contextlib.suppress(ValueError):  # not every value is JSON
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def predict(file: Path, source: tuple[str, str], console: Console, *, as_json: bool = False) -> None:
    """Hand the file to the runtime's numpy predictor, in a process of its own (programs do not import each other).

    `source` is the option and its value: row, csv or npz.
    """
    read_header(file)
    option, value = source
    command = [sys.executable, "-m", "hanse.runtime.predict", str(file), f"--{option}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        message = words[-1] if words else f"the predictor ended with {done.returncode}"
        raise ModelError(message, f"What the model takes: hanse model show {file}")
    if as_json:
        console.print(done.stdout, markup=False, highlight=False, soft_wrap=True)
        return
    for line in prediction_lines(json.loads(done.stdout)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def prediction_lines(result: dict[str, Any]) -> list[str]:
    """One line a record: the probability of the label, or the class and its probability."""
    label, probabilities = result["label"], result["probabilities"]
    classes = result.get("classes")
    if classes is None:
        return [f"probability of {label} = 1: {p:.4f}" for p in probabilities]
    return [f"{label or 'class'}: {c} (probability {p:.4f})" for c, p in zip(classes, probabilities, strict=True)]
