"""Between Flower's records and the frames of the gate's socket. Used by gate and trainer.

Records become one small protobuf (Flower's own, with empty arrays) and a blob for each array's bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from google.protobuf.message import DecodeError

from hanse.runtime.gate.content import ArrayView, Content, RecordKind, RecordView
from hanse.runtime.gate.frames import Buffer

__all__ = [
    "Configs",
    "RecordDict",
    "RecordView",
    "Task",
    "WireError",
    "build",
    "pack",
    "pack_answer",
    "replace_arrays",
    "unpack",
    "unpack_answer",
    "unpack_task",
    "view",
]


class WireError(Exception):
    """The blobs are no records."""


@dataclass(frozen=True)
class Task:
    """What a ClientApp is called with."""

    message: Message
    context: Context


@dataclass(frozen=True)
class Configs:
    """`context.node_config` and `context.run_config`."""

    node: dict[str, str | int | float | bool]
    run: dict[str, str | int | float | bool]


def pack(content: RecordDict) -> list[bytes]:
    """The skeleton and one blob for each array, in order."""
    skeleton, blobs = RecordDict(), [b""]
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            bare = {key: Array(array.dtype, array.shape, array.stype, b"") for key, array in record.items()}
            blobs.extend(array.data for array in record.values())
            skeleton[name] = ArrayRecord(bare)
        else:
            skeleton[name] = record
    blobs[0] = recorddict_to_proto(skeleton).SerializeToString()
    return blobs


def unpack(blobs: Sequence[Buffer]) -> RecordDict:
    """The records. Raises WireError; the sender may be a stranger. A list is emptied on the way: arrays are large."""
    try:
        content = recorddict_from_proto(ProtoRecordDict.FromString(bytes(blobs[0])))
    except (IndexError, DecodeError, ValueError, TypeError, KeyError) as error:
        raise WireError("blobs hold no records") from error
    arrays = [array for record in content.values() if isinstance(record, ArrayRecord) for array in record.values()]
    if len(arrays) != len(blobs) - 1 or any(array.data for array in arrays):
        raise WireError("arrays and blobs do not match")
    for index, array in enumerate(arrays, 1):
        array.data = bytes(blobs[index])
        if isinstance(blobs, list):
            blobs[index] = b""
    return content


def pack_answer(content: RecordDict | None, state: RecordDict) -> tuple[list[bytes], int]:
    """Blobs of a reply's content (none for an error) and of Context.state; the number says where the state begins."""
    blobs = [] if content is None else pack(content)
    return [*blobs, *pack(state)], len(blobs)


def unpack_answer(blobs: Sequence[Buffer], split: object) -> tuple[RecordDict, list[bytes]]:
    """The reply's content, and Context.state as blobs: nobody but the app looks into it."""
    if not isinstance(split, int) or not 0 < split < len(blobs):
        raise WireError("the reply has no content or no state")
    state = [bytes(blob) for blob in blobs[split:]]
    if isinstance(blobs, list):
        del blobs[split:]
        return unpack(blobs), state
    return unpack(blobs[:split]), state


def unpack_task(origin: bytes, blobs: Sequence[Buffer], split: int, configs: Configs) -> Task:
    """Message and Context for the ClientApp. `origin` is the message's metadata, `blobs[split:]` the Context.state."""
    metadata = metadata_from_proto(ProtoMetadata.FromString(origin))
    state = unpack(blobs[split:]) if split < len(blobs) else RecordDict()
    context = Context(
        run_id=metadata.run_id,
        node_id=metadata.dst_node_id,
        node_config=dict(configs.node),
        state=state,
        run_config=dict(configs.run),
    )
    return Task(make_message(metadata=metadata, content=unpack(blobs[:split])), context)


def view(content: RecordDict) -> dict[str, RecordView]:
    """The records as plain values, for the checks. Arrays share their bytes with `content`."""
    return {name: _record_view(record) for name, record in content.items()}


def _record_view(record: Any) -> RecordView:
    if isinstance(record, ArrayRecord):
        arrays = {key: ArrayView(a.dtype, tuple(a.shape), a.stype, a.data) for key, a in record.items()}
        return RecordView(RecordKind.ARRAYS, arrays=arrays)
    if isinstance(record, MetricRecord):
        return RecordView(RecordKind.METRICS, values=dict(record))
    if isinstance(record, ConfigRecord):
        return RecordView(RecordKind.CONFIG, values=dict(record))
    raise WireError(f"unknown record {type(record).__name__}")


def build(content: Content) -> RecordDict:
    """Records of plain values: the inverse of `view`, for what a gate itself answers."""
    records = RecordDict()
    for name, record in content.items():
        if record.kind is RecordKind.ARRAYS:
            records[name] = ArrayRecord({key: _array(array) for key, array in record.arrays.items()})
        elif record.kind is RecordKind.METRICS:
            records[name] = MetricRecord(dict(record.values))
        else:
            records[name] = ConfigRecord(dict(record.values))
    return records


def replace_arrays(content: RecordDict, record: str, arrays: Mapping[str, ArrayView]) -> None:
    """Put other arrays in the place of those of the same names, in `content` itself."""
    target = content.array_records[record]
    for name, array in arrays.items():
        target[name] = _array(array)


def _array(array: ArrayView) -> Array:
    return Array(array.dtype, array.shape, array.stype, array.data)
