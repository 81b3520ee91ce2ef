"""The filter of a job without privacy whose updates are made smaller: quantised, or a random share of the entries.

Made by `hanse.runtime.gate.main`. What leaves of an update is the codec's bytes of its difference to the global model;
arrays that no codec takes (counters, BatchNorm's buffers) stay, as personal layers do.
"""

from pathlib import Path

from hanse.api.privacy import ReleaseKind, Slot
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import ClientConfig
from hanse.runtime.codec import Layout, LayoutError
from hanse.runtime.codec.layout import Vector
from hanse.runtime.gate.content import Content, RecordKind
from hanse.runtime.gate.filter import ARRAYS, Asked, Counts, Forward, OpenFilter, Ready
from hanse.runtime.gate.layers import LocalLayers
from hanse.runtime.gate.npy import read_array
from hanse.runtime.gate.private import update_record
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.updates import Updates

TRAIN = "train"


class CompressedFilter:
    """See the module's docstring."""

    timed = True

    def __init__(self, config: ClientConfig, directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._shared: frozenset[str] = frozenset()
        self._updates: Updates | None = None
        self._start: tuple[int, Layout, Vector] | None = None
        layers = LocalLayers(directory, lambda name: name not in self._shared)
        self._open = OpenFilter(layers, Counts(directory, config.dataset.records))

    def before(self, asked: Asked) -> Forward | Ready:
        """The trainer answers everything; of a model the gate keeps what the update is the difference to."""
        self._start = None
        record = asked.content.get(ARRAYS)
        if asked.kind == TRAIN and record is not None and record.kind is RecordKind.ARRAYS:
            model = {name: read_array(name, array) for name, array in record.arrays.items()}
            layout = Layout.of(model, self._config.personal_layers)
            if self._updates is None or layout.names != tuple(sorted(self._shared)):
                self._shared = frozenset(layout.names)
                config = self._config
                self._updates = Updates(layout, config.plan_hash, None, config.compression, self._directory)
            self._start = (asked.round, layout, layout.flatten(model))
        return self._open.before(asked)

    def after(self, asked: Asked, reply: Content) -> Content:
        """The reply with the update's bytes in the place of its arrays."""
        start, self._start = self._start, None
        left = dict(self._open.after(asked, reply))
        if asked.kind != TRAIN:
            return left
        record = left.pop(ARRAYS, None)
        if start is None or record is None or self._updates is None:
            raise Refused(ReplyCode.UPDATE_MISMATCH, "a train reply needs the record 'arrays', as its message does")
        number, layout, model = start
        try:
            update = layout.flatten({name: read_array(name, array) for name, array in record.arrays.items()}) - model
        except LayoutError as error:
            raise Refused(ReplyCode.UPDATE_MISMATCH, str(error)) from error
        payload = self._updates.encode(update, Slot(ReleaseKind.TRAIN, number, 1))
        self._updates.commit()
        return update_record(payload) | left

    def close(self) -> None:
        """Nothing is held."""

    def leave(self) -> None:
        """Nothing is held."""
