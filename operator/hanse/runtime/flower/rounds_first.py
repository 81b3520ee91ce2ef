"""What an encrypted job's server learns of the first model: its digest, its size, what the app says of it.

Each gate has made the model itself, without data; the server needs no array of it. Used by the encrypted round loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode
from hanse.runtime.agreement import messages
from hanse.runtime.flower.rounds_fleet import INITIAL, Answer, Question, RunFailedError
from hanse.runtime.flower.rounds_gather import Gathering

#: Key in the protocol's record of a reply to `query.initial`.
POINTS: Final = "points"
_APP: Final = "app"
_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class FirstModel:
    """`points`: integers in an update. `digest`: of the arrays. `app`: what it says of its model."""

    digest: str
    points: int
    app: Mapping[str, Any]


def first_model(gathering: Gathering, digests: Mapping[int, str]) -> FirstModel:
    """What all gates say alike. `digests`: of the first models, by participant, as they greeted.

    Raises RunFailedError: two gates have made different models.
    """
    while True:
        present = gathering.present(None)
        timeout = float(gathering.config.round_timeout_seconds)
        answers = gathering.fleet.ask(Question(INITIAL, 0), present, timeout)
        said = {i: found for i, a in answers.items() if (found := _said(i, a, digests)) is not None}
        for index, answer in answers.items():
            if index not in said:
                gathering.reporter.reasons[index] = answer.failure or Reason.UPDATE_MISMATCH
        if len(said) >= gathering.config.quorum:
            gathering.enough()
            return _alike(gathering, said)
        gathering.short(f"{len(said)} first models", gathering.everyone - frozenset(said))
        gathering.clock.sleep(_PAUSE_SECONDS)


def _said(index: int, answer: Answer, digests: Mapping[int, str]) -> FirstModel | None:
    points = answer.records.get(messages.RECORD, {}).get(POINTS)
    app = answer.records.get(_APP)
    if answer.failure is not None or app is None or index not in digests:
        return None
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        return None
    return FirstModel(digests[index], points, dict(app))


def _alike(gathering: Gathering, said: Mapping[int, FirstModel]) -> FirstModel:
    first = min(said)
    for index, found in said.items():
        if found != said[first]:
            a, b = gathering.names([first, index])
            raise RunFailedError(
                ExitCode.FEATURE_MISMATCH,
                f"{a} and {b} make different first models of the same seed: their features or images differ",
            )
    return said[first]
