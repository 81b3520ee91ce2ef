"""docs/threat-model.md names tests: each must be there, and each attack must be named."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/threat-model.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or not re.search(rf"def {name}\(", (ROOT / file).read_text())
    ]
    assert missing == []


def test_every_attack_is_named() -> None:
    attacks = [p for p in Path(__file__).parent.glob("test_*.py") if p != Path(__file__)]
    assert all(f"operator/tests/attacks/{attack.name}::" in PAGE for attack in attacks)
