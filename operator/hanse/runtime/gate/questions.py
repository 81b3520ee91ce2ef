"""How often the trainer is asked for one release before the gate stops asking. Used by `private`.

A reply that is refused is not paid for, and a hostile app chooses which code it gets: a server that asks for ever would
read the data out of the codes. So many questions are enough for trainers that die and servers that start again. The
count is the pod's; how many pods there are is backoffLimit's. What is left of this channel is in docs/threat-model.md.
"""

import json
from pathlib import Path
from typing import Final

from hanse.api.privacy import ReleaseKind
from hanse.api.replies import ReplyCode
from hanse.runtime.durable import replacing
from hanse.runtime.gate.refused import Refused

_FILE: Final = "questions.json"
#: Beside the attempts that the plan pays for.
SPARE: Final = 4


class Questions:
    """The counts, in a directory of the gate's container; `most` for each kind and round."""

    def __init__(self, directory: Path, most: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / _FILE
        self._most = most
        try:
            self._asked: dict[str, int] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._asked = {}

    def ask(self, kind: ReleaseKind, number: int) -> None:
        """Count a question, before the trainer hears it. Raises Refused when it was asked often enough."""
        key = f"{kind.value}-{number}"
        asked = self._asked.get(key, 0)
        if asked >= self._most:
            raise Refused(ReplyCode.ATTEMPTS_EXHAUSTED, f"the trainer was asked {asked} times for {key}")
        self._asked[key] = asked + 1
        with replacing(self._path) as file:
            file.write(json.dumps(self._asked).encode())
