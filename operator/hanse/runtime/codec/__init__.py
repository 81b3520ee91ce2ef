"""The codec of updates: a model's shared arrays as one vector, the integer grid, lanes, masks; numpy and ChaCha20.

Used by the gate (which encodes and noises) and by the aggregator (which decodes); knows nothing of Flower. With
encryption the gates alone use it (`SumCodec`).
"""

from hanse.runtime.codec.codec import HEADER_BYTES, Codec, Encoded, attempt_of
from hanse.runtime.codec.errors import (
    CodecError,
    GridTooCoarseError,
    LayoutError,
    MessageError,
    NoiseMissingError,
    NotFiniteError,
)
from hanse.runtime.codec.grid import Demand, Grid, choose
from hanse.runtime.codec.layout import Entry, Layout, is_batch_norm_buffer, is_shared
from hanse.runtime.codec.public import PublicSeed
from hanse.runtime.codec.sumgrid import CAPACITY, PlainGrid, PrivateGrid
from hanse.runtime.codec.summed import Quantised, SumCodec, check_rounds

__all__ = [
    "CAPACITY",
    "HEADER_BYTES",
    "Codec",
    "CodecError",
    "Demand",
    "Encoded",
    "Entry",
    "Grid",
    "GridTooCoarseError",
    "Layout",
    "LayoutError",
    "MessageError",
    "NoiseMissingError",
    "NotFiniteError",
    "PlainGrid",
    "PrivateGrid",
    "PublicSeed",
    "Quantised",
    "SumCodec",
    "attempt_of",
    "check_rounds",
    "choose",
    "is_batch_norm_buffer",
    "is_shared",
]
