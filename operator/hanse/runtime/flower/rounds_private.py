"""What a private job's server asks beside updates: the first model of every gate, and noised histograms.

Used by the round loop. Nothing here needs to be trusted: the gates answer only what their plan pays for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.api.privacy import PrivacyPlan
from hanse.runtime.aggregation import Arrays, arrays_digest
from hanse.runtime.aggregation.histograms import evaluation_metrics, standardisation
from hanse.runtime.flower.rounds_fleet import INITIAL, STATISTICS, Answer, Question, RunFailedError
from hanse.runtime.flower.rounds_gather import Gathering

Counts = dict[str, np.ndarray[Any, Any]]

_PAUSE_SECONDS: Final = 1.0
#: Arrays of an answer with histograms, as the gates send them (hanse.runtime.gate.histograms).
_FEATURES: Final = "features"


@dataclass
class PrivateQuestions:
    """Asks all participants at once, and takes no less than the quorum."""

    plan: PrivacyPlan
    gathering: Gathering
    first: tuple[Arrays, dict[str, Any]] | None = field(default=None)

    def initial(self) -> tuple[Arrays, dict[str, Any]]:
        """The first model and what its app says of it; each gate has made it itself, so all must be equal."""
        good = self._all(INITIAL)
        first = good[min(good)]
        app = dict(first.records.get("app", {}))
        digest = arrays_digest(first.arrays or {})
        for index, answer in good.items():
            if arrays_digest(answer.arrays or {}) != digest or dict(answer.records.get("app", {})) != app:
                a, b = self.gathering.names([min(good), index])
                raise RunFailedError(
                    ExitCode.FEATURE_MISMATCH,
                    f"{a} and {b} make different first models of the same seed: their features or images differ",
                )
        return dict(first.arrays or {}), app

    def statistics(self, app: Mapping[str, Any]) -> dict[str, Any] | None:
        """Mean and scale as shares of the owners' ranges, from the sum of all noised histograms; None without a plan.

        `app` is what the first model says of itself.
        """
        if self.plan.statistics is None:
            return None
        good = self._all(STATISTICS)
        found = standardisation(_summed([a.arrays or {} for a in good.values()])[_FEATURES])
        return {
            "mean": list(found.mean),
            "scale": list(found.scale),
            **_described(app),
            "participant": self.gathering.names([min(good)])[0],
        }

    def _all(self, kind: str) -> dict[int, Answer]:
        gathering = self.gathering
        while True:
            present = gathering.present(None)
            answers = gathering.fleet.ask(Question(kind, 0), present, float(gathering.config.round_timeout_seconds))
            good = {i: a for i, a in answers.items() if a.failure is None and a.arrays}
            for index, answer in answers.items():
                if index not in good:
                    gathering.reporter.reasons[index] = answer.failure or Reason.UPDATE_MISMATCH
            if len(good) >= gathering.config.quorum:
                gathering.enough()
                return good
            gathering.short(f"{len(good)} answers to {kind}", gathering.everyone - frozenset(good))
            gathering.clock.sleep(_PAUSE_SECONDS)


def _described(app: Mapping[str, Any]) -> dict[str, Any]:
    """Names of features and label, as far as the app's first model says them."""
    try:
        about = json.loads(str(app.get("model", "")))
    except ValueError:
        about = {}
    about = about if isinstance(about, dict) else {}
    return {"features": about.get("features", []), "label": about.get("label", "")}


def metrics_of(answers: Sequence[Answer]) -> dict[str, float]:
    """Evaluation metrics of all participants together, from the sum of their noised histograms."""
    counts = [answer.arrays for answer in answers if answer.arrays]
    return evaluation_metrics(_summed(counts)) if counts else {}


def _summed(counts: Sequence[Arrays]) -> Counts:
    first = counts[0]
    alike = [c for c in counts if {n: a.shape for n, a in c.items()} == {n: a.shape for n, a in first.items()}]
    return {name: np.sum([c[name].astype(np.int64) for c in alike], axis=0) for name in first}
