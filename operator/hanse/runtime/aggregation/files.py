"""The safetensors layout; used by checkpoints and model files.

The writer is ours because the library orders a file's metadata at random: equal models must have equal digests.
"""

import json

from hanse.runtime.aggregation.arrays import Arrays, plain

_CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}


class UnsupportedDtypeError(ValueError):
    """safetensors has no code for the array's dtype."""


def safetensors_bytes(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    """The arrays in the safetensors format, a function of its arguments alone.

    Largest item size first, then by name, so that every array is aligned. Raises UnsupportedDtypeError.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    chunks: list[bytes] = []
    offset = 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        array = plain(arrays[name])
        if (code := _CODES.get(array.dtype.name)) is None:
            raise UnsupportedDtypeError(f"array {name} has dtype {array.dtype}, which a model file cannot hold")
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        chunks.append(array.tobytes())
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])
