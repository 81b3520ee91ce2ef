"""Reads the manifest cases of operator/tests/integration/api/cases: one table for the API server and the models.

Called by the tests of both.
"""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A manifest and, when it is to be refused, the field that the refusal must name."""

    name: str
    manifest: Manifest
    field: str | None = None
    says: str = ""
    server_only: bool = False

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.manifest['kind']}: {self.name}"


def load_cases(directory: Path) -> list[Case]:
    """All cases of all files."""
    return [case for path in sorted(directory.glob("*.yaml")) for case in _load(path)]


def merge(base: Any, change: Any) -> Any:
    """`base` with a JSON merge patch (RFC 7396) laid over it."""
    if not isinstance(change, dict):
        return deepcopy(change)
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _load(path: Path) -> list[Case]:
    content = yaml.safe_load(path.read_text())
    valid = [Case(c["name"], merge(content["base"], c["change"])) for c in content["valid"]]
    invalid = [
        Case(
            c["name"],
            merge(content["base"], c["change"]),
            field=c["field"],
            says=c.get("says", ""),
            server_only=c.get("server_only", False),
        )
        for c in content["invalid"]
    ]
    return valid + invalid
