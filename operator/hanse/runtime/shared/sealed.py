"""A state as bytes, for the gate to seal, and back again. Used by `model`.

safetensors, a function of the state alone. Only shared arrays travel: a gate has all others in its own first model.
Sealing tells that a holder of the job's key wrote the bytes, not that the holder was honest: every name, shape, dtype
and number is checked, and the caller compares the digests with the signed ones.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from hanse.runtime.aggregation import Arrays
from hanse.runtime.aggregation.files import safetensors_bytes
from hanse.runtime.codec import Layout
from hanse.runtime.shared.errors import StateInvalidError
from hanse.runtime.shared.state import VERSION, State

_MODEL: Final = "model/"
_STRATEGY: Final = "strategy/"
_ABOUT: Final = "hanse.shared"
_NAME_BYTES: Final = 512


def state_bytes(state: State, layout: Layout) -> bytes:
    """The state in the safetensors format; equal states give equal bytes."""
    arrays = {
        **{_MODEL + name: state.arrays[name] for name in layout.names},
        **{_STRATEGY + name: array for name, array in state.strategy.items()},
    }
    return safetensors_bytes(arrays, {_ABOUT: json.dumps(state.about(), sort_keys=True)})


def most_bytes(layout: Layout, members: int) -> int:
    """No state of this layout is larger, whatever the strategy."""
    numbers = sum(entry.size * (entry.dtype.itemsize + 16) for entry in layout.entries)
    return numbers + (3 * len(layout.entries) + members + 8) * _NAME_BYTES


def read_state(data: bytes, first: State, layout: Layout, *, members: frozenset[str], rounds: int) -> State:
    """The inverse of `state_bytes`; arrays that are not shared come from `first`, this gate's own first model.

    `members` are the participants' names, `rounds` is the last round. Raises StateInvalidError.
    """
    if len(data) > most_bytes(layout, len(members)):
        raise StateInvalidError(f"{len(data)} bytes are more than a state of this model has")
    try:
        found: Arrays = load_safetensors(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ABOUT])
        state = _state(about, found, first, layout)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise StateInvalidError(f"the bytes hold no state of this job: {error}") from error
    if not 0 <= state.round <= rounds or not state.contributors <= members:
        raise StateInvalidError("the state names a round or a participant that the job does not have")
    return state


def _state(about: dict[str, Any], found: Arrays, first: State, layout: Layout) -> State:
    if about["version"] != VERSION or about.keys() != first.about().keys():
        raise ValueError("another version")
    if not isinstance(about["round"], int) or (about["range"] is None) != (first.range is None):
        raise ValueError("another kind of job")
    reach = None if about["range"] is None else float.fromhex(about["range"])
    if reach is not None and not 0 < reach < math.inf:
        raise ValueError("the range is no positive number")
    model = {e.name: _taken(found, _MODEL + e.name, e.shape, e.dtype) for e in layout.entries}
    strategy = {
        name.removeprefix(_STRATEGY): _taken(found, name, array.shape, array.dtype)
        for name, array in sorted(found.items())
        if name.startswith(_STRATEGY)
    }
    if len(found) != len(model) + len(strategy):
        raise ValueError("it holds arrays that the model does not have")
    arrays = {name: model.get(name, array) for name, array in first.arrays.items()}
    return State(about["round"], arrays, strategy, reach, frozenset(_names(about["contributors"])))


def _taken(found: Arrays, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    array = found[name]
    if array.shape != shape or array.dtype != dtype or not np.isfinite(array).all():
        raise ValueError(f"{name} has another shape or dtype, or is not finite")
    return array


def _names(names: Iterable[object]) -> list[str]:
    result = [name for name in names if isinstance(name, str)]
    if result != names:
        raise ValueError("the contributors are no names")
    return result
