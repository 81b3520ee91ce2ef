"""Releases of counts under differential privacy: the app's histograms, noised and paid for. Used by the filters."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.api.replies import ReplyCode
from hanse.runtime.gate.checks import Planned
from hanse.runtime.gate.content import Content, RecordKind, RecordView
from hanse.runtime.gate.filter import NUM_EXAMPLES
from hanse.runtime.gate.histograms import RECORD as HISTOGRAMS
from hanse.runtime.gate.histograms import Histograms, Noise
from hanse.runtime.gate.npy import read_array, view_of
from hanse.runtime.gate.refused import Refused
from hanse.runtime.gate.release import Releases


@dataclass(frozen=True)
class Counted:
    """The plan's histograms, of which one stands for statistics and one for evaluation; `records` are declared."""

    plan: PrivacyPlan
    records: int
    statistics: Histograms | None
    evaluation: Histograms | None
    releases: Releases
    noise: Callable[[], Noise]

    def planned(self, kind: ReleaseKind) -> Planned:
        """For the checks. Raises Refused for what the plan does not have."""
        return self._histograms(kind).planned

    def release(self, kind: ReleaseKind, number: int, question: str, record: RecordView) -> bytes:
        """The noised counts, paid for. `record` has passed the checks. Raises Refused."""
        histograms = self._histograms(kind)
        counts = {name: read_array(name, array).astype(np.int64) for name, array in record.arrays.items()}
        multiplier = self._multiplier(kind)

        def make(_: Slot) -> bytes:
            return histograms.release(counts, multiplier, self.noise())

        return self.releases.release(kind, number, question, make).payload

    def content(self, kind: ReleaseKind, payload: bytes) -> Content:
        """A release as records: the same names, shapes and sizes every time."""
        counts = self._histograms(kind).unpack(payload)
        arrays = {name: view_of(array) for name, array in counts.items()}
        return {
            HISTOGRAMS: RecordView(RecordKind.ARRAYS, arrays=arrays),
            "metrics": RecordView(RecordKind.METRICS, values={NUM_EXAMPLES: self.records}),
        }

    def _multiplier(self, kind: ReleaseKind) -> float:
        plan = self.plan.statistics if kind is ReleaseKind.STATISTICS else self.plan.evaluation
        if plan is None:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"the plan has no {kind.value}")
        return float(plan.noise_multiplier)

    def _histograms(self, kind: ReleaseKind) -> Histograms:
        found = self.statistics if kind is ReleaseKind.STATISTICS else self.evaluation
        if found is None:
            raise Refused(ReplyCode.NOT_ALLOWED_IN_REPLY, f"the plan has no {kind.value}")
        return found
