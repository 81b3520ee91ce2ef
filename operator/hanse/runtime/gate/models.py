"""Global models as a gate accepts them: the first is its own, each later one a step that honest rounds can make.

Used by `filter`. Version v is the model that round v trains on; the one that is evaluated in round r is version r + 1.
A server that swaps the model in the middle of a job (an imprint layer, say) is refused; one that steers it slowly is
stopped by the noise alone, as docs/threat-model.md says. Files lie in a directory of the gate's container; with the pod
they go, and the next gate starts again from the first model, whose bound adds up over the rounds it has missed.
"""

import hashlib
import json
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hanse.api.replies import ReplyCode
from hanse.runtime.durable import replacing
from hanse.runtime.gate.refused import Refused

Vector = NDArray[np.float64]

_FILE: Final = "global-model.npy"
_DIGESTS: Final = "global-models.json"


class StepLimit(Protocol):
    """The largest L2 distance from version `first` to version `last` that honest rounds can make."""

    def __call__(self, first: int, last: int) -> float: ...


def vector_digest(vector: Vector) -> str:
    """`sha256:…` of a model's shared arrays as one float64 vector."""
    return f"sha256:{hashlib.sha256(np.ascontiguousarray(vector, '<f8').tobytes()).hexdigest()}"


class Models:
    """What this gate has accepted so far; `initial` is version 1. `precision` is the layout's."""

    def __init__(self, directory: Path, initial: Vector, limit: StepLimit, precision: float) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / _FILE
        self._digests_file = directory / _DIGESTS
        self._limit = limit
        self._digests: dict[int, str] = {}
        self._initial_digest = vector_digest(initial)
        self._base = initial
        self._version = 1
        self._precision = precision
        self._restore()

    @property
    def newest(self) -> str | None:
        """Digest of the last model that was accepted; None before the first."""
        return self._digests.get(self._version)

    def check(self, version: int, vector: Vector) -> str:
        """The model's digest. Raises Refused: INITIAL_MODEL_MISMATCH, STEP_TOO_LARGE."""
        if not np.isfinite(vector).all():
            raise Refused(ReplyCode.STEP_TOO_LARGE, "the global model is not finite")
        digest = vector_digest(vector)
        if self._digests.get(version) == digest:
            return digest
        base = self._base
        if base.shape != vector.shape or (version == 1 and digest != self._initial_digest):
            raise Refused(ReplyCode.INITIAL_MODEL_MISMATCH, "the first global model is not the one made here")
        if version == 1:
            return digest
        step, allowed = float(np.linalg.norm(vector - base)), self._allowed(version, base)
        if not step <= allowed:
            raise Refused(
                ReplyCode.STEP_TOO_LARGE, f"the global model has moved by {step:.3g}; honest rounds move {allowed:.3g}"
            )
        return digest

    def accept(self, version: int, vector: Vector, digest: str) -> None:
        """Take a checked model as the one that the next is compared with. Only a release may do that."""
        if self._digests.get(version) == digest and version < self._version:
            return
        with replacing(self._file) as file:
            np.save(file, vector)
        self._digests = {v: d for v, d in self._digests.items() if v >= version - 2} | {version: digest}
        self._base, self._version = vector, version
        with replacing(self._digests_file) as file:
            file.write(json.dumps({"version": version, "digests": self._digests}).encode())

    def _allowed(self, version: int, base: Vector) -> float:
        """How far from the last known model it may be; each version was rounded to its arrays' dtypes."""
        if version > self._version:
            steps, reach = version - self._version, self._limit(self._version, version)
        else:
            # A server resumed from its checkpoint makes a known version anew, of other participants' updates.
            before = max(1, version - 1)
            steps = self._version - before + 1
            reach = self._limit(before, version) + self._limit(before, self._version)
        return reach + steps * self._precision * (float(np.linalg.norm(base)) + 2 * reach)

    def _restore(self) -> None:
        try:
            told = json.loads(self._digests_file.read_text())
            vector = np.load(self._file, allow_pickle=False)
        except (OSError, ValueError):
            return  # none yet, or torn: the first model is the base
        digests = {int(version): str(digest) for version, digest in told["digests"].items()}
        if vector_digest(vector) == digests.get(int(told["version"])) and vector.shape == self._base.shape:
            self._base, self._version, self._digests = vector, int(told["version"]), digests
