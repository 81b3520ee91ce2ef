"""From what a job asks and its owners declare to the one EncryptionPlan that all gates hold. Pure.

Called by the operator when a job starts, and by `hanse run`.
"""

from collections.abc import Mapping
from typing import Final

from hanse.api.commonterms import common_terms
from hanse.api.encryption import DEFAULT_RANGE, EncryptionPlan, RosterMember
from hanse.api.job import FederatedJobSpec
from hanse.api.privacy import PrivacyPlan

#: Digits of a scale or mass: far below what an update's own rounding loses.
_DIGITS: Final = 12


def encryption_plan(
    spec: FederatedJobSpec,
    identities: Mapping[str, str],
    records: Mapping[str, int | None],
    privacy: PrivacyPlan | None,
    images: tuple[str | None, str | None],
) -> EncryptionPlan | None:
    """The plan; None where nothing is encrypted.

    Args:
        identities: public key (PEM) by participant.
        records: declared number of records by participant.
        privacy: the job's privacy plan, but for each owner's own part.
        images: of gate and trainer; `hanse run` has none.

    Raises:
        KeyError: a participant without an identity.
        ValueError: records are needed and not declared.
    """
    wanted = spec.encryption
    if wanted is None or spec.privacy is None:
        return None
    names = [member.name for member in spec.participants]
    weights = _weights(spec, {name: records.get(name) for name in names}, privacy)
    return EncryptionPlan(
        scheme="CKKS" if wanted.scheme == "CKKS" else "BFV",
        key_maker=wanted.key_maker or names[0],
        quorum=spec.effective_quorum,
        collusion_threshold=spec.privacy.collusion_threshold,
        rounds=spec.rounds,
        model_release=spec.privacy.model_release,
        range=None if privacy is not None else wanted.range or DEFAULT_RANGE,
        terms=_terms(spec, records, privacy, images),
        roster=[
            RosterMember(name=name, identity=identities[name], scale=weights[name][0], mass=weights[name][1])
            for name in names
        ],
    )


def smallest_batch(privacy: PrivacyPlan | None, records: Mapping[str, int | None]) -> int | None:
    """Unit Record: the smallest expected batch of any participant."""
    known = [count for count in records.values() if count is not None]
    if privacy is None or not known:
        return None
    return privacy.for_owner(min(known), privacy.adversary).expected_batch


def needs_records(spec: FederatedJobSpec) -> bool:
    """Whether each update's weight is in the plan: nobody can say it later, beside an encrypted update."""
    wanted = spec.differential_privacy
    record = wanted is not None and wanted.unit == "Record"
    return spec.encryption is not None and (record or spec.aggregation.weights == "RecordCount")


def _weights(
    spec: FederatedJobSpec, records: Mapping[str, int | None], privacy: PrivacyPlan | None
) -> dict[str, tuple[str, str]]:
    """(scale, mass) by participant: the mean is the sum of scale times update, over the sum of masses.

    Unit Record: an update is the sum of its batch's gradients, so its batch is what it weighs.
    """
    if not needs_records(spec):
        return dict.fromkeys(records, ("1", "1"))
    counts = {}
    for name, count in records.items():
        if count is None:
            raise ValueError(f"participant {name} does not declare its number of records")
        counts[name] = count
    if privacy is None or privacy.unit == "Silo":
        most = max(counts.values())
        return {name: (_decimal(count / most),) * 2 for name, count in counts.items()}
    batches = {name: privacy.for_owner(n, privacy.adversary).expected_batch or 1 for name, n in counts.items()}
    if spec.aggregation.weights == "RecordCount":
        return {name: ("1", str(batch)) for name, batch in batches.items()}
    least = min(batches.values())
    return {name: (_decimal(least / batch), str(least)) for name, batch in batches.items()}


def _decimal(value: float) -> str:
    """A number in (0, 1] as a decimal that the API takes: the same digits on every machine."""
    text = f"{value:.{_DIGITS}f}" if value >= 0.1 else f"{value:.{_DIGITS - 1}e}"
    digits, e, exponent = text.partition("e")
    return digits.rstrip("0").rstrip(".") + e + exponent


def _terms(
    spec: FederatedJobSpec,
    records: Mapping[str, int | None],
    privacy: PrivacyPlan | None,
    images: tuple[str | None, str | None],
) -> str:
    initial = spec.app.initial_model
    return common_terms(
        images=images,
        client_app=spec.app.client_app,
        config=spec.app.config,
        personal_layers=spec.app.personal_layers,
        initial_seed=initial.seed if initial is not None else 0,
        aggregation=spec.aggregation,
        compression=spec.compression,
        privacy=privacy,
        smallest_batch=smallest_batch(privacy, records),
    )
