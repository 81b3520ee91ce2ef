"""The trainer image itself, from inside: scripts/lib/in-trainer.sh runs these in its root file system."""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch


def loaded() -> set[str]:
    """Names of the shared objects that this process has mapped."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[-1] for line in maps if ".so" in line}


def test_torch_multiplies_with_openblas() -> None:
    """Debian's default BLAS is 50 times slower (docs/known-issues.md)."""
    product = torch.ones(64, 64) @ torch.ones(64, 64)
    assert product[0, 0].item() == 64.0
    assert any("/openblas-openmp/" in name for name in loaded())


def test_torch_is_debians_and_numpy_is_the_locked_one() -> None:
    assert torch.__file__.startswith("/usr/lib/python3/dist-packages/")
    assert np.__file__.startswith("/opt/hanse/")
    assert sys.prefix == "/opt/hanse"


def test_arrays_cross_between_numpy_and_torch_without_a_copy() -> None:
    array = np.arange(4, dtype=np.float32)
    torch.from_numpy(array).mul_(2)
    assert array.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert torch.ones(2).numpy().dtype == np.float32


def test_flower_cannot_install_anything() -> None:
    assert importlib.metadata.version("flwr") == "1.41.0"
    assert shutil.which("uv") is None
    assert shutil.which("pip") is None
    assert os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
