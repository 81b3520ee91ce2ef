"""`hanse model show` and `hanse model predict`."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanse.cli.errors import ModelError, UsageError
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


def predict(file: Path, row: str | None, csv: Path | None, console: Console) -> None:
    """Hand the file to the runtime's numpy predictor, in a process of its own (programs do not import each other)."""
    if (row is None) == (csv is None):
        raise UsageError("Give either --row or --csv", "For example: --row 30000,2,1,29")
    read_header(file)
    arguments = ["--row", row] if row is not None else ["--csv", str(csv)]
    command = [sys.executable, "-m", "hanse.runtime.aggregation.predict", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ModelError(
            lines[-1] if lines else f"the predictor ended with {done.returncode}", f"hanse model show {file}"
        )
    console.print(done.stdout.rstrip(), markup=False, highlight=False, soft_wrap=True)
