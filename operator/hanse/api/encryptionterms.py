"""An owner's terms about encryption, the size of a sum and the model's way: a part of `hanse.api.terms`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hanse.api.conditions import Reason
from hanse.api.encryption import ModelRelease, may_release
from hanse.api.objection import Objection
from hanse.api.participant import Dataset, ParticipantSpec


@dataclass(frozen=True)
class EncryptionAsk:
    """What an encrypted job asks. `counted`: updates are weighed by records, which the plan must hold.

    `features`: gates make the first model themselves, so its columns must be listed.
    """

    release: ModelRelease
    counted: bool = False
    features: bool = False


def policy_objections(
    encryption: EncryptionAsk | None, quorum: int | None, owner: str, found: ParticipantSpec
) -> Iterator[Objection]:
    """What Participant `owner` (namespace/name) says about encryption, the size of a sum and where the model goes."""
    policy = found.policy
    if policy.require_encryption and encryption is None:
        yield Objection(
            Reason.ENCRYPTION_REQUIRED,
            f"Participant {owner} takes part in encrypted jobs only (policy.requireEncryption)",
            "set spec.privacy.encryption",
        )
    if policy.min_participants is not None and quorum is not None and quorum < policy.min_participants:
        yield Objection(
            Reason.TOO_FEW_PARTICIPANTS,
            f"Participant {owner} wants its update among at least {policy.min_participants} (policy.minParticipants), "
            f"the quorum is {quorum}",
            "raise spec.quorum, or add participants",
        )
    release: ModelRelease = encryption.release if encryption is not None else "Coordinator"
    if not may_release(release, policy.model_release):
        without = " and a job without encryption gives it to the coordinator" if encryption is None else ""
        yield Objection(
            Reason.MODEL_RELEASE_NOT_ALLOWED,
            f"Participant {owner} lets the plain model go no further than {policy.model_release} "
            f"(policy.modelRelease){without}",
            f"set spec.privacy.modelRelease to {policy.model_release}{', with encryption' if without else ''}",
        )
    if release == "Participants" and found.models is None:
        yield Objection(
            Reason.MODELS_NOT_DECLARED,
            f"Participant {owner} names no volume for the model that modelRelease Participants gives it",
            "its owner sets spec.models.claimName, or set modelRelease to another",
        )


def data_objections(wanted: EncryptionAsk, where: str, dataset: Dataset) -> Iterator[Objection]:
    """What encryption needs of a dataset even where no budget pays."""
    if wanted.counted and dataset.records is None:
        yield Objection(
            Reason.RECORDS_NOT_DECLARED,
            f"{where} does not declare its number of records, and nobody can weigh an encrypted update later",
            "its owner sets records, or set aggregation.weights to Equal",
        )
    if wanted.features and (dataset.schema_ is None or not dataset.schema_.features):
        yield Objection(
            Reason.RANGES_NOT_DECLARED,
            f"{where} lists no features: with encryption the gates make the first model without data",
            "its owner sets schema.features",
        )


def signer_objections(signers: Mapping[str, str]) -> Iterator[Objection]:
    """Participants of an encrypted job that sign with one key. `signers`: what stands for the key, by participant.

    Who votes twice makes collusionThreshold a promise that does not hold.
    """
    known: dict[str, str] = {}
    for name, key in signers.items():
        first = known.setdefault(key, name)
        if first != name:
            yield Objection(
                Reason.DUPLICATE_PARTICIPANT,
                f"participants {first} and {name} are of one owner and sign with one identity, but in an encrypted job "
                "each counts as one who does not collude",
                "keep one of them, or have the other take part from a namespace of its own",
            )
