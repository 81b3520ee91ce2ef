"""The plain model leaves, once: this owner's signed word, and the file. Used by `encrypted`.

`Coordinator`: one gate sends the arrays to the server; `Participants`: each gate writes its owner's own copy into
`Paths.models`; `Never`: nothing. The word is on disk before it leaves, there is one of it, and after it this gate
trains no more: a model of an earlier round that is published as well would be a second release.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hanse.api.participation import JobRef
from hanse.api.replies import ReplyCode
from hanse.runtime.aggregation.model import ModelFileError, write_model
from hanse.runtime.agreement.checks import check_releases
from hanse.runtime.agreement.messages import ModelRequest
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.agreement.statements import Release
from hanse.runtime.durable import replace_file
from hanse.runtime.gate.encrypted_model import HeldModel
from hanse.runtime.gate.refused import Refused
from hanse.runtime.shared import SharedModel

log = logging.getLogger(__name__)

_RELEASED: Final = "released.json"
_STATISTICS: Final = "statistics.json"


@dataclass(frozen=True)
class About:
    """What stands in the file's header: the job, its app, and what the app said of its model."""

    job: JobRef
    app: str
    model: str

    @property
    def file(self) -> str:
        """Jobs of two namespaces may have one name, and a name may come again."""
        return f"{self.job.namespace}-{self.job.name}-{self.job.uid[:8]}.safetensors"

    def header(self, rounds: int, statistics: str) -> dict[str, str]:
        """As `hanse predict` reads it."""
        about = {"hanse": self.model, "statistics": statistics}
        told = {key: value for key, value in about.items() if value}
        return told | {"job": f"{self.job.namespace}/{self.job.name}", "app": self.app, "rounds": str(rounds)}


class Leaving:
    """See the module's docstring. `models` is the owner's volume."""

    def __init__(
        self, directory: Path, models: Path, roster: Roster, signer: Signer, held: HeldModel, about: About
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._models = directory, models
        self._roster, self._signer, self._held, self._about = roster, signer, held, about
        self._released = self._read()

    @property
    def released(self) -> bool:
        """Whether this owner has let the model go."""
        return self._released is not None

    def release(self) -> Release:
        """This owner's word for the committed model. Raises Refused(RELEASE_REFUSED)."""
        to, model = self._roster.plan.model_release, self._held.model
        if to == "Never":
            raise Refused(ReplyCode.RELEASE_REFUSED, "the plan says that the model leaves no gate")
        word = self._signer.release(model.round, model.digests.model, to)
        if self._released is not None and self._released != word:
            raise Refused(ReplyCode.RELEASE_REFUSED, f"the model of round {self._released.round} was released before")
        if self._released is None:
            replace_file(self._directory / _RELEASED, word.model_dump_json().encode())
            self._released = word
        return word

    def model(self, request: ModelRequest) -> SharedModel | None:
        """The model for the coordinator; None when it was written for this gate's owner. Raises Refused."""
        model = self._held.model
        check_releases(
            request.releases,
            roster=self._roster,
            round=request.round,
            model=model.digests.model,
            contributors=model.contributors,
        )
        if request.round != model.round:
            raise Refused(ReplyCode.STALE_ROUND, f"round {model.round} is committed here, not {request.round}")
        if self._roster.plan.model_release == "Coordinator":
            return model
        self._write(model)
        return None

    def note(self, statistics: Mapping[str, Any]) -> None:
        """What the server says of the features with each training: whoever predicts needs it."""
        text = json.dumps(dict(statistics), sort_keys=True)
        if text != self._statistics():
            replace_file(self._directory / _STATISTICS, text.encode())

    def _statistics(self) -> str:
        try:
            return (self._directory / _STATISTICS).read_text()
        except FileNotFoundError:
            return ""

    def _write(self, model: SharedModel) -> None:
        path = self._models / self._about.file
        try:
            written = write_model(path, model.arrays, self._about.header(model.round, self._statistics()))
            line = f"{written.digest.removeprefix('sha256:')}  {path.name}\n"
            replace_file(path.with_name(f"{path.name}.sha256"), line.encode())
        except (OSError, ModelFileError) as error:
            raise Refused(ReplyCode.GATE_FAILED, f"the owner's model cannot be written: {error}") from error
        log.info("the model of round %d lies in the owner's volume as %s", model.round, path.name)

    def _read(self) -> Release | None:
        try:
            return Release.model_validate_json((self._directory / _RELEASED).read_bytes())
        except FileNotFoundError:
            return None
        # It was written whole: without it this gate would let a second model go.
        except ValidationError as error:
            raise Refused(ReplyCode.STATE_REFUSED, "the record of the released model is damaged") from error
