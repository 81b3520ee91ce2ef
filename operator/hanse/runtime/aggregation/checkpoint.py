"""The server's checkpoint: all that a new run needs to go on, in one file. The aggregator saves it and loads it.

Layout: magic, sha256 of the rest, then safetensors (arrays `model/…` and `strategy/…`, the rest as JSON metadata).
The previous good file stays beside it as `NAME.previous`.

CheckpointError
├── CheckpointMissing   there is none: the run starts at round 1
└── CheckpointCorrupt   neither file is whole
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from hanse.runtime.aggregation.arrays import Arrays
from hanse.runtime.aggregation.files import UnsupportedDtypeError, safetensors_bytes
from hanse.runtime.durable import replace_file, sync_directory

_MAGIC: Final = b"HANSECP1"
_DIGEST: Final = 32
_REST: Final = ("job_uid", "round", "history", "random_state", "statistics", "model_metadata", "contributed")
_MODEL: Final = "model/"
_STRATEGY: Final = "strategy/"
_ORDER: Final = "order"

T = TypeVar("T")


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
        replace_file(path, framed(_MAGIC, payload), keep=previous(path))
    except (OSError, TypeError, UnsupportedDtypeError) as error:
        raise CheckpointError(f"checkpoint of round {checkpoint.round} was not saved: {error}") from error


def load(path: Path) -> Checkpoint:
    """The newest whole checkpoint, see `newest`. Raises CheckpointMissing and CheckpointCorrupt."""
    return newest(path, _read)


def newest(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of `path`, or of the previous file when `path` is damaged or missing.

    A damaged file is moved to `NAME.corrupt`, so that the next save does not put it in the place of the good one.
    `read` raises OSError, ValueError, KeyError or TypeError for a damaged one. Raises CheckpointMissing and
    CheckpointCorrupt.
    """
    damaged: list[str] = []
    for candidate in (path, previous(path)):
        try:
            return read(candidate)
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


def framed(magic: bytes, payload: bytes) -> bytes:
    """The file's content: magic, sha256 of the payload, payload."""
    return magic + hashlib.sha256(payload).digest() + payload


def unframed(magic: bytes, content: bytes) -> bytes:
    """The payload of what `framed` made. Raises ValueError when it is anything else."""
    if content[: len(magic)] != magic:
        raise ValueError("not a checkpoint")
    head = len(magic) + _DIGEST
    if hashlib.sha256(payload := content[head:]).digest() != content[len(magic) : head]:
        raise ValueError("truncated or changed: the checksum does not match")
    return payload


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest one is."""
    return path.with_name(f"{path.name}.previous")


def _read(path: Path) -> Checkpoint:
    payload = unframed(_MAGIC, path.read_bytes())
    arrays: Arrays = load_safetensors(payload)
    length = int.from_bytes(payload[:8], "little")
    rest = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["checkpoint"])
    return Checkpoint(
        arrays={name: arrays[_MODEL + name] for name in rest[_ORDER][_MODEL]},
        strategy_state={name: arrays[_STRATEGY + name] for name in rest[_ORDER][_STRATEGY]},
        **{name: rest[name] for name in _REST},
    )
