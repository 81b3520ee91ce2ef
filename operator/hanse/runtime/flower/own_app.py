"""A user's own ServerApp: what it is told, and what its messages tell about its rounds. Used by the aggregator."""

import datetime
import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from flwr.app import Message
from flwr.serverapp import ServerApp

from hanse.api.exitcodes import ExitCode
from hanse.api.job import MAX_ROUNDS, ROUNDS_KEY
from hanse.api.runconfig import RunConfig
from hanse.runtime.flower.rounds_fleet import RunFailedError
from hanse.runtime.flower.rounds_report import Reporter

#: Flower's strategies put the number of the round under this key into the config record of what they send.
_SERVER_ROUND: Final = "server-round"
#: Messages whose replies are updates: `train`, or `train.` and a name of the app's own.
_TRAIN: Final = "train"

Value = bool | int | float | str


def run_config(config: RunConfig) -> dict[str, Value]:
    """The ServerApp's `context.run_config`; one of the user's own is told `rounds` under Flower's usual key."""
    told = typed_config(config.config)
    return told if config.server_app is None else {ROUNDS_KEY: config.rounds, **told}


def typed_config(config: dict[str, str]) -> dict[str, Value]:
    """Run config values as the apps expect them: numbers and booleans where they parse."""
    return {key: _typed(text) for key, text in config.items()}


def _typed(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def load_server_app(reference: str) -> ServerApp:
    """The user's ServerApp, by module:attribute."""
    module, _, attribute = reference.partition(":")
    try:
        app = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        traceback.print_exc()
        raise RunFailedError(
            ExitCode.APP_IMPORT_FAILED, f"importing {reference}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(app, ServerApp):
        raise RunFailedError(ExitCode.APP_IMPORT_FAILED, f"{reference} is not a flwr ServerApp")
    return app


@dataclass
class RoundWatch:
    """Progress of an app whose loop is not ours: only its messages show which round it is in."""

    reporter: Reporter
    now: Callable[[], datetime.datetime]
    index_of: Callable[[int], int | None]
    newest: int = 0
    #: The newest round that holds an update of a participant, by index.
    updated: dict[int, int] = field(default_factory=dict)

    def sent(self, messages: Sequence[Message]) -> bool:
        """A round begins with its first message, which ends those before it; whether one began."""
        number = max(map(_round_of, messages), default=0)
        if number <= self.newest:
            return False
        self.newest = number
        self.reporter.update(completed=number - 1, round_started_at=self.now())
        return True

    def heard(self, replies: Sequence[Message]) -> None:
        """Count the rounds that a participant has sent an update for; published with the next round."""
        for reply in replies:
            if reply.has_error() or (index := self.index_of(reply.metadata.src_node_id)) is None:
                continue
            self.reporter.heard([index])
            if reply.metadata.message_type.startswith(_TRAIN) and self.updated.get(index, 0) < self.newest:
                self.updated[index] = self.newest
                name = next(p.name for p in self.reporter.config.participants if p.index == index)
                self.reporter.contributed[name] = self.reporter.contributed.get(name, 0) + 1

    def finish(self) -> str:
        """The app has returned: the highest round that was seen is complete. Words where that is not `rounds`."""
        self.reporter.completed = self.newest
        if not self.newest:
            return "the ServerApp has ended; its messages name no round"
        asked = self.reporter.config.rounds
        return "" if self.newest == asked else f"the ServerApp ended after round {self.newest} of {asked}"


def _round_of(message: Message) -> int:
    """The round that a message belongs to, 0 where it does not say: Flower's strategies do in the content, others in
    the group id."""
    records = message.content.config_records.values() if message.has_content() else ()
    found = (record[_SERVER_ROUND] for record in records if _SERVER_ROUND in record)
    numbers = [n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 < n <= MAX_ROUNDS]
    if numbers:
        return max(numbers)
    group = message.metadata.group_id
    # A group id may be any text: a long number is a time or an id of the user's own.
    if not (group.isascii() and group.isdecimal() and len(group) <= len(str(MAX_ROUNDS))):
        return 0
    return int(group) if int(group) <= MAX_ROUNDS else 0
