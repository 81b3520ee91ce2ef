"""Rules that span several fields of a FederatedJob's spec, and the defaults that they name. Used by `hanse.api.job`."""

from operator import attrgetter
from typing import Any, Final

from hanse.api.aggregation import Aggregation
from hanse.api.rules import Rule, unique_names

#: Key of the run config under which a ServerApp of the user's own is told `rounds`, as `flwr new` names it.
ROUNDS_KEY: Final = "num-server-rounds"
ON_DROPOUT: Final = "SkipRound"
ROUND_TIMEOUT: Final = 600
CHECKPOINT_EVERY: Final = 1


def _platform_only(field: str, attribute: str, cel: str, default: Any, reason: str) -> Rule:
    """A rule that `field` stays at its default, which is written before rules are checked, beside app.serverApp."""
    return Rule(
        cel=f"!has(self.app.serverApp) || {cel}",
        message=f"{field} is for the platform's ServerApp: remove it or app.serverApp, which {reason}",
        holds=lambda s: s.app.server_app is None or attrgetter(attribute)(s) == default,
        field=field,
    )


SPEC_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        cel="!has(self.quorum) || self.quorum <= size(self.participants)",
        message="quorum must not exceed the number of participants: lower it or add participants",
        holds=lambda s: s.quorum is None or s.quorum <= len(s.participants),
        field="quorum",
    ),
    Rule(
        cel="!has(self.app.serverApp) || !has(self.stopWhen) || size(self.stopWhen) == 0",
        message="stopWhen is for the platform's ServerApp: remove it or app.serverApp, which decides for itself",
        holds=lambda s: s.app.server_app is None or not s.stop_when,
        field="stopWhen",
    ),
    _platform_only(
        "aggregation",
        "aggregation",
        "self.aggregation.strategy == 'FedAvg' && self.aggregation.weights == 'RecordCount'",
        Aggregation(),
        "aggregates itself",
    ),
    _platform_only("onDropout", "on_dropout", f"self.onDropout == '{ON_DROPOUT}'", ON_DROPOUT, "decides who is enough"),
    _platform_only(
        "roundTimeoutSeconds",
        "round_timeout_seconds",
        f"self.roundTimeoutSeconds == {ROUND_TIMEOUT}",
        ROUND_TIMEOUT,
        "waits as long as it wants",
    ),
    _platform_only(
        "checkpoint",
        "checkpoint.every_rounds",
        f"self.checkpoint.everyRounds == {CHECKPOINT_EVERY}",
        CHECKPOINT_EVERY,
        "keeps its own state",
    ),
    Rule(
        cel=(
            "!has(self.app.serverApp) || !has(self.app.config) || "
            f"!('{ROUNDS_KEY}' in self.app.config) || self.app.config['{ROUNDS_KEY}'] == string(self.rounds)"
        ),
        message=f"rounds must be equal to {ROUNDS_KEY} in app.config: remove that key, app.serverApp is told rounds",
        holds=lambda s: s.app.server_app is None or s.app.config.get(ROUNDS_KEY, str(s.rounds)) == str(s.rounds),
        field="rounds",
    ),
    unique_names("participants", "participants"),
)
