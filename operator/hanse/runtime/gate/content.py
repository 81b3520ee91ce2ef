"""What a message holds, as plain values: the view that the checks look at. Made by hanse.runtime.flower.wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RecordKind(StrEnum):
    """The three records of Flower's Message API."""

    ARRAYS = "arrays"
    METRICS = "metrics"
    CONFIG = "config"


@dataclass(frozen=True)
class ArrayView:
    """One array as it is announced (`dtype`, `shape`, `stype`) and as it is (`data`: the serialised bytes)."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes

    @property
    def announced(self) -> tuple[str, tuple[int, ...], str]:
        """What has to be equal in a reply."""
        return (self.dtype, self.shape, self.stype)


@dataclass(frozen=True)
class RecordView:
    """One record: arrays, or values by name."""

    kind: RecordKind
    arrays: Mapping[str, ArrayView] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def outline(self) -> "RecordView":
        """The same without the arrays' bytes: enough to compare a reply with, and it does not hold the memory."""
        bare = {name: ArrayView(*array.announced, data=b"") for name, array in self.arrays.items()}
        return RecordView(self.kind, bare, self.values)


Content = Mapping[str, RecordView]


def outline(content: Content) -> dict[str, RecordView]:
    """Each record's outline."""
    return {name: record.outline() for name, record in content.items()}
