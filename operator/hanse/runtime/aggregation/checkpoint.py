"""The server's checkpoint: all that a new run needs to go on, in one file. The aggregator saves it, the launcher loads.

Layout: magic, sha256 of the rest, then safetensors (arrays `model/…` and `strategy/…`, the rest as JSON metadata).
The previous good file stays beside it as `NAME.previous`.

CheckpointError
├── CheckpointMissing   there is none: the run starts at round 1
└── CheckpointCorrupt   neither file is whole
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from hanse.runtime.aggregation.arrays import Arrays
from hanse.runtime.aggregation.files import UnsupportedDtypeError, safetensors_bytes
from hanse.runtime.durable import replace_file, sync_directory

_MAGIC: Final = b"HANSECP1"
_HEAD: Final = len(_MAGIC) + 32
_REST: Final = ("job_uid", "round", "history", "random_state", "statistics", "model_metadata", "contributed")
_MODEL: Final = "model/"
_STRATEGY: Final = "strategy/"
_ORDER: Final = "order"


class CheckpointError(Exception):
    """A checkpoint cannot be saved or loaded."""


class CheckpointMissing(CheckpointError):
    """There is no checkpoint."""


class CheckpointCorrupt(CheckpointError):
    """Files are there, none is whole."""


@dataclass(frozen=True)
class Checkpoint:
    """State after `round` completed rounds; everything that is not an array is JSON-ready."""

    job_uid: str
    round: int
    arrays: Arrays
    strategy_state: Arrays = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    random_state: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] | None = None
    model_metadata: str = ""
    contributed: dict[str, int] = field(default_factory=dict)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write `path` (temporary file, fsync, rename, fsync of the directory); the file before it becomes `.previous`.

    Raises CheckpointError when the volume is full or gone, or the content cannot be written.
    """
    # Apps may take arrays by position (to_numpy_ndarrays): the order of the names belongs to the model.
    order = {_MODEL: list(checkpoint.arrays), _STRATEGY: list(checkpoint.strategy_state)}
    rest = {name: getattr(checkpoint, name) for name in _REST} | {_ORDER: order}
    arrays = {
        **{_MODEL + name: array for name, array in checkpoint.arrays.items()},
        **{_STRATEGY + name: array for name, array in checkpoint.strategy_state.items()},
    }
    try:
        payload = safetensors_bytes(arrays, {"checkpoint": json.dumps(rest)})
        replace_file(path, _MAGIC + hashlib.sha256(payload).digest() + payload, keep=previous(path))
    except (OSError, TypeError, UnsupportedDtypeError) as error:
        raise CheckpointError(f"checkpoint of round {checkpoint.round} was not saved: {error}") from error


def load(path: Path) -> Checkpoint:
    """The newest whole checkpoint: `path`, or the previous one when `path` is damaged or missing.

    A damaged file is moved to `NAME.corrupt`, so that the next save does not put it in the place of the good one.
    Raises CheckpointMissing and CheckpointCorrupt.
    """
    damaged: list[str] = []
    for candidate in (path, previous(path)):
        try:
            return _read(candidate)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            damaged.append(f"{candidate.name}: {error}")
            if candidate == path:
                candidate.replace(path.with_name(f"{path.name}.corrupt"))
                sync_directory(path.parent)
    if damaged:
        raise CheckpointCorrupt("; ".join(damaged))
    raise CheckpointMissing(f"no checkpoint at {path.name}")


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest one is."""
    return path.with_name(f"{path.name}.previous")


def _read(path: Path) -> Checkpoint:
    content = path.read_bytes()
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError("not a checkpoint")
    payload = content[_HEAD:]
    if hashlib.sha256(payload).digest() != content[len(_MAGIC) : _HEAD]:
        raise ValueError("truncated or changed: the checksum does not match")
    arrays: Arrays = load_safetensors(payload)
    length = int.from_bytes(payload[:8], "little")
    rest = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["checkpoint"])
    return Checkpoint(
        arrays={name: arrays[_MODEL + name] for name in rest[_ORDER][_MODEL]},
        strategy_state={name: arrays[_STRATEGY + name] for name in rest[_ORDER][_STRATEGY]},
        **{name: rest[name] for name in _REST},
    )
