"""Rules of a FederatedJob's spec about encryption: which combinations there are, and how large a quorum must be.

Used by `hanse.api.job`. What concerns spec.privacy alone is in `hanse.api.encryption`.
"""

from typing import Any, Final

from hanse.api.encryption import MOST_CLIENTS, SUM_STRATEGIES, Encryption, least_votes
from hanse.api.rules import Rule

_ENCRYPTION: Final = "self.privacy.encryption"
_OFF: Final = f"!has(self.privacy) || !has({_ENCRYPTION}) || {_ENCRYPTION}.scheme == 'None'"
_QUORUM: Final = "(has(self.quorum) ? self.quorum : size(self.participants))"
_T: Final = "(has(self.privacy.collusionThreshold) ? self.privacy.collusionThreshold : 0)"
_STRATEGIES: Final = ", ".join(f"'{name}'" for name in SUM_STRATEGIES)


def encryption_of(spec: Any) -> Encryption | None:
    """spec.privacy.encryption of a FederatedJobSpec, where it is on."""
    found: Encryption | None = spec.privacy.encrypts if spec.privacy is not None else None
    return found


def _with(field: str, cel: str, holds: Any, message: str) -> Rule:
    """A rule of encrypted jobs."""
    return Rule(
        cel=f"{_OFF} || {cel}",
        message=message,
        holds=lambda s: encryption_of(s) is None or holds(s),
        field=field,
    )


def _is_named(spec: Any) -> bool:
    maker = spec.privacy.encryption.key_maker
    return maker is None or any(p.name == maker for p in spec.participants)


JOB_ENCRYPTION_RULES: Final[tuple[Rule, ...]] = (
    _with(
        "privacy",
        "!has(self.app.serverApp)",
        lambda s: s.app.server_app is None,
        "privacy.encryption is for the platform's ServerApp: remove it or app.serverApp, which would need plain "
        "updates",
    ),
    _with(
        "aggregation",
        f"self.aggregation.strategy in [{_STRATEGIES}]",
        lambda s: s.aggregation.strategy in SUM_STRATEGIES,
        "aggregation.strategy needs plain updates, with encryption there is only their sum: use one of "
        f"{', '.join(SUM_STRATEGIES)}",
    ),
    _with(
        "compression",
        "!has(self.compression) || !has(self.compression.quantizationBits)",
        lambda s: s.compression is None or s.compression.quantization_bits is None,
        "compression.quantizationBits is not for encryption, whose lanes have 19 bits: remove it; sparsity is allowed",
    ),
    _with(
        "privacy",
        f"!has({_ENCRYPTION}.keyMaker) || self.participants.exists(p, p.name == {_ENCRYPTION}.keyMaker)",
        _is_named,
        "privacy.encryption.keyMaker is none of the participants: name one of them, or remove it",
    ),
    _with(
        "participants",
        f"{_ENCRYPTION}.scheme != 'CKKS' || size(self.participants) <= {MOST_CLIENTS['CKKS']}",
        lambda s: s.privacy.encryption.scheme != "CKKS" or len(s.participants) <= MOST_CLIENTS["CKKS"],
        f"participants: scheme CKKS adds up at most {MOST_CLIENTS['CKKS']}: set privacy.encryption.scheme to BFV, "
        f"which adds {MOST_CLIENTS['BFV']}",
    ),
    _with(
        "quorum",
        f"{_QUORUM} >= (size(self.participants) + {_T}) / 2 + 1",
        lambda s: s.effective_quorum >= least_votes(len(s.participants), s.privacy.collusion_threshold),
        "quorum must be at least (participants + privacy.collusionThreshold) / 2 + 1 with encryption: fewer could "
        "agree on two sums in one round",
    ),
    _with(
        "quorum",
        f"{_QUORUM} >= {_T} + 2",
        lambda s: s.effective_quorum >= s.privacy.collusion_threshold + 2,
        "quorum must be at least privacy.collusionThreshold + 2 with encryption: in a smaller sum colluders would read "
        "the one update that is not theirs",
    ),
    _with(
        "output",
        "!has(self.output) || !has(self.output.claimName) || !has(self.privacy.modelRelease) || "
        "self.privacy.modelRelease == 'Coordinator'",
        lambda s: s.output.claim_name is None or s.privacy.model_release == "Coordinator",
        "output.claimName stays empty unless privacy.modelRelease is Coordinator: remove it, or set modelRelease so",
    ),
)
