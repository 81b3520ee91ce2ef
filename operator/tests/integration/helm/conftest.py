"""Renders the chart with Helm 4."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import binaries

CHART = Path(__file__).resolve().parents[4] / "helm" / "hanse"
NAMESPACED: dict[str, Any] = {"coordinatorNamespaces": ["consortium"], "participantNamespaces": ["bank-a", "bank-b"]}

Manifest = dict[str, Any]
Helm = Callable[..., "subprocess.CompletedProcess[str]"]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run helm with `values` (a dict) beside its arguments; no cluster."""
    binary = str(binaries.ensure(["helm"])["helm"])
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str, values: dict[str, Any] | None = None, **more: Any) -> "subprocess.CompletedProcess[str]":
        file = home / "values.json"
        file.write_text(json.dumps(values or {}))
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
        command = [binary, *arguments] + (["--values", str(file)] if values is not None else [])
        return subprocess.run(command, text=True, capture_output=True, check=False, env=environment, **more)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """The objects of the chart with some values."""

    def run(values: dict[str, Any], *arguments: str) -> list[Manifest]:
        result = helm("template", "hanse", str(CHART), "-n", "hanse-system", *arguments, values=values)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.load_all(result.stdout, Loader=yaml.CSafeLoader) if document]

    return run
