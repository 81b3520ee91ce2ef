"""Rules of a FederatedJob's spec about privacy, compression and personal layers. Used by `hanse.api.job`."""

from typing import Any, Final

from hanse.api.privacy import MAX_PRIVATE_ROUNDS, DifferentialPrivacy
from hanse.api.rules import Rule

#: Rounds times attempts of a private job; with evaluation and statistics its releases fit into one ledger account.
MAX_PAID_ROUNDS: Final = 2 * MAX_PRIVATE_ROUNDS

_DP: Final = "self.privacy.differentialPrivacy"
_ENCRYPTS: Final = "(has(self.privacy.encryption) && self.privacy.encryption.scheme != 'None')"
_NO_DP: Final = f"!has(self.privacy) || !has({_DP})"
_NOT_RECORD: Final = f"{_NO_DP} || {_DP}.unit != 'Record'"


def asked(spec: Any) -> DifferentialPrivacy | None:
    """spec.privacy.differentialPrivacy of a FederatedJobSpec."""
    found: DifferentialPrivacy | None = spec.privacy.differential_privacy if spec.privacy is not None else None
    return found


def _is_record(spec: Any) -> bool:
    wanted = asked(spec)
    return wanted is not None and wanted.unit == "Record"


def _multipliers_fit(spec: Any) -> bool:
    wanted = asked(spec)
    return wanted is None or not wanted.schedule.multipliers or len(wanted.schedule.multipliers) == spec.rounds


def _rounds_fit(spec: Any) -> bool:
    wanted = asked(spec)
    if wanted is None:
        return True
    return bool(spec.rounds <= MAX_PRIVATE_ROUNDS and spec.rounds * wanted.max_attempts <= MAX_PAID_ROUNDS)


def _metrics_are_paid(spec: Any) -> bool:
    wanted = asked(spec)
    return wanted is None or wanted.evaluation is not None or not spec.stop_when


def _platform_only(field: str, absent: str, holds: Any, why: str) -> Rule:
    return Rule(
        cel=f"!has(self.app.serverApp) || {absent}",
        message=f"{field} is for the platform's ServerApp: remove it or app.serverApp, which {why}",
        holds=lambda s: s.app.server_app is None or holds(s),
        field=field.split(".", maxsplit=1)[0],
    )


PRIVACY_RULES: Final[tuple[Rule, ...]] = (
    _platform_only(
        "privacy.differentialPrivacy",
        _NO_DP,
        lambda s: asked(s) is None,
        "would need plain updates",
    ),
    _platform_only(
        "compression", "!has(self.compression)", lambda s: s.compression is None, "cannot read compressed updates"
    ),
    _platform_only(
        "app.personalLayers",
        "!has(self.app.personalLayers) || size(self.app.personalLayers) == 0",
        lambda s: not s.app.personal_layers,
        "would miss these arrays",
    ),
    Rule(
        cel=f"!has(self.app.initialModel) || (has(self.privacy) && (has({_DP}) || {_ENCRYPTS}))",
        message="app.initialModel is for privacy.differentialPrivacy and privacy.encryption: remove it; without them "
        "the app makes its own",
        holds=lambda s: (
            s.app.initial_model is None
            or asked(s) is not None
            or (s.privacy is not None and s.privacy.encrypts is not None)
        ),
        field="app",
    ),
    Rule(
        cel=f"{_NO_DP} || (self.rounds <= {MAX_PRIVATE_ROUNDS} && "
        f"self.rounds * {_DP}.maxAttempts <= {MAX_PAID_ROUNDS})",
        message=f"rounds must be at most {MAX_PRIVATE_ROUNDS} with differentialPrivacy, rounds times maxAttempts at "
        f"most {MAX_PAID_ROUNDS}: each is an entry in the owner's ledger",
        holds=_rounds_fit,
        field="rounds",
    ),
    Rule(
        cel=f"{_NO_DP} || !has({_DP}.schedule.multipliers) || size({_DP}.schedule.multipliers) == 0 || "
        f"size({_DP}.schedule.multipliers) == self.rounds",
        message="privacy.differentialPrivacy.schedule.multipliers: give one for each round",
        holds=_multipliers_fit,
        field="privacy",
    ),
    Rule(
        cel=f"{_NO_DP} || has({_DP}.evaluation) || !has(self.stopWhen) || size(self.stopWhen) == 0",
        message="stopWhen needs metrics, which leave no gate unpaid: set privacy.differentialPrivacy.evaluation or "
        "remove stopWhen",
        holds=_metrics_are_paid,
        field="stopWhen",
    ),
    Rule(
        cel=f"{_NOT_RECORD} || !has(self.compression) || !self.compression.errorFeedback",
        message="compression.errorFeedback is not for unit Record: it carries records into rounds that did not draw "
        "them: remove it or use unit Silo",
        holds=lambda s: not _is_record(s) or s.compression is None or not s.compression.error_feedback,
        field="compression",
    ),
    Rule(
        cel=f"{_NOT_RECORD} || self.aggregation.strategy != 'FedProx'",
        message="aggregation.strategy FedProx has no effect with unit Record, whose round is one step: use FedAvg",
        holds=lambda s: not _is_record(s) or s.aggregation.strategy != "FedProx",
        field="aggregation",
    ),
    Rule(
        cel=f"{_NOT_RECORD} || !has(self.app.config) || (!('batch-size' in self.app.config) && "
        "(!('local-epochs' in self.app.config) || self.app.config['local-epochs'] == '1'))",
        message="app.config: batch-size and local-epochs shuffle records, unit Record draws each by chance: remove "
        "them, sampleRate says how many",
        holds=lambda s: (
            not _is_record(s) or ("batch-size" not in s.app.config and s.app.config.get("local-epochs", "1") == "1")
        ),
        field="app",
    ),
)
