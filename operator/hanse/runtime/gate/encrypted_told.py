"""What the server may tell the apps of an encrypted job. Used by `encrypted`.

Mean and scale of the features come from the server. Chosen well they put every record at one point, and what an
evaluation says is then the secret model there: some hundred such questions read the model out. So there is one set of
them for the job, by which the model is trained too, and one question about each model where no noise protects it.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from hanse.api.encryption import Digest
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.statements import Strict, asked_digest
from hanse.runtime.durable import replace_file
from hanse.runtime.gate.content import Content
from hanse.runtime.gate.refused import Refused

_FILE: Final = "told.json"
#: The record that is of a round: its number, its seed, what the strategy adds.
_CONFIG: Final = "config"


class _Record(Strict):
    """Digests: of all records but `config`, the same in the whole job; of the newest evaluation and its model."""

    common: Digest | None = None
    model: Annotated[str, Field(max_length=128)] = ""
    question: Digest | None = None


class Told:
    """The record of one gate, in a directory of its own; durable before the app hears anything."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / _FILE
        self._record = self._read()

    def as_before(self, told: Content) -> None:
        """What holds for the whole job. Raises Refused(SUM_REFUSED): something else than before."""
        self._write(self._common(told))

    def evaluate(self, model: str, told: Content) -> None:
        """Before an evaluation of the committed `model`. Raises Refused(SUM_REFUSED or ALREADY_RELEASED)."""
        record, question = self._common(told), told_digest(told)
        if record.model == model and record.question != question:
            raise Refused(ReplyCode.ALREADY_RELEASED, "this model was evaluated with another question before")
        self._write(record.model_copy(update={"model": model, "question": question}))

    def _common(self, told: Content) -> _Record:
        common = told_digest({name: record for name, record in told.items() if name != _CONFIG})
        if self._record.common not in (None, common):
            raise Refused(ReplyCode.SUM_REFUSED, "the server tells the app other statistics than before")
        return self._record.model_copy(update={"common": common})

    def _write(self, record: _Record) -> None:
        if record != self._record:
            replace_file(self._path, record.model_dump_json().encode())
            self._record = record

    def _read(self) -> _Record:
        try:
            return _Record.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Record()
        except ValidationError as error:
            raise Refused(ReplyCode.STATE_REFUSED, "the record of what the app was told is damaged") from error


def told_digest(told: Content) -> str:
    """What a gate signs of the configs that its app hears: `asked_digest`."""
    return asked_digest({name: record.values for name, record in told.items()})
