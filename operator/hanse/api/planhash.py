"""Canonical hashes: the same plan has the same hash on every machine and in every version."""

import hashlib
import json
from typing import Any


def canonical_hash(value: dict[str, Any]) -> str:
    """sha256 of the canonical JSON (sorted keys, no blanks, UTF-8; after RFC 8785) of a JSON-ready value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
