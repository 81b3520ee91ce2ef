"""The first global model, made without data: what the server gets and what its first model is compared with.

The pod's init container, which has the app but no data, leaves it in a volume that only the gate has beside it
(`hanse.runtime.trainer.initial`). Used by `private`.
"""

import mmap
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hanse.api.privacy import Unit
from hanse.api.replies import ReplyCode
from hanse.runtime.codec import is_batch_norm_buffer
from hanse.runtime.flower import wire
from hanse.runtime.gate.checks import check_reply
from hanse.runtime.gate.content import Content, RecordKind
from hanse.runtime.gate.frames import FrameError, read_frame
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.refused import Refused

FILE: Final = "initial.frame"
MESSAGE: Final = "query.initial"
ARRAYS: Final = "arrays"

Arrays = dict[str, NDArray[Any]]


def check_unit(arrays: Arrays, unit: Unit) -> None:
    """Raise NoInitialModel when no noise on updates protects the model's layers in this unit."""
    buffers = sorted(name for name in arrays if is_batch_norm_buffer(name))
    if unit == "Record" and buffers:
        raise NoInitialModel(
            f"{buffers[0]} is a buffer of BatchNorm, which mixes the records of a batch: unit Record cannot hide one "
            "of them; use GroupNorm"
        )


class NoInitialModel(Exception):
    """The init container left none, or one that no gate would send on."""


def read_initial(directory: Path) -> tuple[Content, Arrays]:
    """The reply to `query.initial`, and its arrays. Raises NoInitialModel."""
    try:
        with (directory / FILE).open("rb") as file:
            frame = read_frame(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        content = wire.view(wire.unpack(list(frame.blobs)))
        check_reply(MESSAGE, {}, content)
        record = content[ARRAYS]
        if record.kind is not RecordKind.ARRAYS or not record.arrays:
            raise Refused(ReplyCode.UPDATE_MISMATCH, "no arrays")
        return content, {name: read_array(name, array) for name, array in record.arrays.items()}
    except (OSError, ValueError, KeyError, FrameError, wire.WireError, Refused) as error:
        raise NoInitialModel(f"the app's initial model in {directory / FILE}: {error}") from error
