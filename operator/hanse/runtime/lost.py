"""Who can contribute no more, as the operator says in its answers to pushes: a file between launcher and aggregator.

The launcher (`progress`) writes it, `flower.rounds_gather` reads it before round 1. Without the operator there is no
file, and the server waits for everybody until startTimeoutSeconds.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from hanse.api.paths import Paths

_log = logging.getLogger("hanse.progress")


def write_lost(paths: Paths, names: Iterable[str]) -> None:
    """Replace what was said before. Losing it never fails a job: errors are logged."""
    file = _file(paths)
    try:
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(sorted(names)))
        temporary.replace(file)
    except OSError as error:
        _log.warning("who is lost was not written: %s", error)


def read_lost(paths: Paths) -> frozenset[str]:
    """Names of participants; none where nothing was said."""
    try:
        return frozenset(json.loads(_file(paths).read_text()))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        _log.warning("who is lost was not read: %s", error)
        return frozenset()


def _file(paths: Paths) -> Path:
    return paths.shared / "lost.json"
