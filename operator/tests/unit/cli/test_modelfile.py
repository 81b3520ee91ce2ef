"""`hanse model show` reads the header alone, and says what is damaged."""

import io
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from hanse.cli.errors import ModelError
from hanse.cli.modelcommands import show
from hanse.cli.modelfile import file_digest, read_header
from hanse.runtime.aggregation.model import write_model


def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    write_model(path, {"a": np.zeros((2, 3), np.float32), "b": np.ones(4)}, {"hanse": '{"label": "default"}'})
    return path


def test_header_and_digest(tmp_path: Path) -> None:
    path = model(tmp_path)
    written = write_model(tmp_path / "again", {"a": np.zeros((2, 3), np.float32), "b": np.ones(4)}, {"hanse": "x"})
    header = read_header(path)
    assert header.arrays == {"a": ("F32", (2, 3)), "b": ("F64", (4,))}
    assert header.parameters == 10
    assert header.metadata == {"hanse": '{"label": "default"}'}
    assert file_digest(tmp_path / "again") == written.digest


def test_show_prints_what_the_file_says(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    show(model(tmp_path), console)
    text = cast(io.StringIO, console.file).getvalue()
    for word in ("sha256:", "parameters", "default", "F32", "2x3"):
        assert word in text


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x04" + b"\0" * 7 + b"null", b"\x03" + b"\0" * 7 + b"[1]"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_header(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_header(tmp_path / "none")
