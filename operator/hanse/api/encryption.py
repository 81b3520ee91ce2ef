"""Encryption of a job: what is asked (FederatedJob.spec.privacy.encryption) and the plan that every gate holds.

The data scientist writes the spec; the operator (or `hanse run`) resolves it into one `EncryptionPlan`, the same for
all participants. Owners read it in their Participation; gates and server are configured with it, and every signature of
the protocol (`hanse.runtime.agreement`) is bound to it. docs/encryption.md says who can do what.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from hanse.api.meta import ApiModel, PositiveDecimal, ShortName
from hanse.api.planhash import canonical_hash
from hanse.api.rules import Rule, between

Scheme = Literal["None", "BFV", "CKKS"]
#: A scheme that hides something.
EncryptingScheme = Literal["BFV", "CKKS"]
#: What a ciphertext is made of: neither half alone says anything of the message, also to who holds the key.
Half = Literal["Bodies", "Seeds"]
HALVES: Final[tuple[Half, ...]] = ("Bodies", "Seeds")
#: Who gets the plain model, from nobody to everybody: each word allows what stands before it, and more.
ModelRelease = Literal["Never", "Participants", "Coordinator"]

#: Most participants whose sum an engine can add without overflow; the engines state the same (`runtime.he`).
MOST_CLIENTS: Final[dict[EncryptingScheme, int]] = {"BFV": 1024, "CKKS": 64}
#: Strategies that work on the sum of updates alone. One that is not named here is refused with encryption.
SUM_STRATEGIES: Final = ("FedAvg", "FedProx", "FedAdam", "FedYogi")
DEFAULT_RANGE: Final = "1"

_RELEASES: Final[tuple[ModelRelease, ...]] = ("Never", "Participants", "Coordinator")

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


def may_release(asked: ModelRelease, most: ModelRelease) -> bool:
    """Whether `asked` lets no more people have the model than `most` does."""
    return _RELEASES.index(asked) <= _RELEASES.index(most)


def who_has_the_model(release: ModelRelease) -> str:
    """In words, at the end of a job; empty where the coordinator has it, whose status names the file."""
    return {
        "Coordinator": "",
        "Participants": "the participants have the model, each in its own volume (privacy.modelRelease Participants)",
        "Never": "nobody has the model (privacy.modelRelease Never)",
    }[release]


def least_votes(participants: int, collusion_threshold: int) -> int:
    """Votes that two different lists cannot both get while at most `collusion_threshold` gates vote twice."""
    return (participants + collusion_threshold) // 2 + 1


def least_quorum(participants: int, collusion_threshold: int) -> int:
    """Smallest quorum: enough votes for one list, and two honest updates beside those of the colluders."""
    return max(least_votes(participants, collusion_threshold), collusion_threshold + 2)


def keeps_halves_apart(quorum: int, collusion_threshold: int) -> bool:
    """Whether no gate ever has to verify both halves of a round: every quorum has enough gates for each half."""
    return 2 * (collusion_threshold + 1) <= quorum


# --- what is asked ---------------------------------------------------------------------------------------------------


class Encryption(ApiModel):
    """Updates leave a gate encrypted; the server adds what it cannot read."""

    RULES: ClassVar[tuple[Rule, ...]] = (between("range", "range", low="0.000000001", high="1000000.0"),)

    scheme: Scheme = Field(
        default="BFV",
        description="BFV adds integers exactly; CKKS approximately (at most 64 participants); None: no encryption.",
    )
    key_maker: ShortName | None = Field(
        default=None, description="Participant whose gate makes the job's key; without it the first one."
    )
    range: PositiveDecimal | None = Field(
        default=None,
        description="Without differentialPrivacy only: largest change of one parameter in round 1, default 1; later "
        "rounds adapt.",
    )


_ON: Final = "(has(self.encryption) && self.encryption.scheme != 'None')"
_DISTRIBUTED: Final = "(has(self.differentialPrivacy) && self.differentialPrivacy.mechanism == 'Distributed')"


def _is_distributed(privacy: Any) -> bool:
    asked = privacy.differential_privacy
    return asked is not None and asked.mechanism == "Distributed"


#: Rules of spec.privacy; what the rest of the spec has to do with encryption is in `hanse.api.encryptionrules`.
ENCRYPTION_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        cel=f"!{_DISTRIBUTED} || {_ON}",
        message="differentialPrivacy.mechanism Distributed needs encryption, without which the server sees each share "
        "of the noise alone: set encryption, or mechanism Local",
        holds=lambda p: not _is_distributed(p) or p.encrypts is not None,
        field="differentialPrivacy",
    ),
    Rule(
        cel=f"!{_DISTRIBUTED} || !has(self.encryption) || self.encryption.scheme != 'CKKS'",
        message="encryption.scheme CKKS is not for mechanism Distributed: its sums are whole numbers only by rounding, "
        "which ill-made ciphertexts break, and noise leaves no room for that: set scheme to BFV, or mechanism to Local",
        holds=lambda p: not _is_distributed(p) or p.encryption is None or p.encryption.scheme != "CKKS",
        field="encryption",
    ),
    Rule(
        cel="!has(self.differentialPrivacy) || !has(self.encryption) || !has(self.encryption.range)",
        message="encryption.range is for jobs without differentialPrivacy, whose clip and noise say it: remove it",
        holds=lambda p: p.differential_privacy is None or p.encryption is None or p.encryption.range is None,
        field="encryption",
    ),
    Rule(
        cel=f"{_ON} || !has(self.collusionThreshold) || self.collusionThreshold == 0",
        message="collusionThreshold is for encryption: remove it, or set encryption",
        holds=lambda p: p.encrypts is not None or p.collusion_threshold == 0,
        field="collusionThreshold",
    ),
    Rule(
        cel=f"{_ON} || !has(self.modelRelease) || self.modelRelease == 'Coordinator'",
        message="modelRelease is for encryption, without which the server has every round's model: remove it, or set "
        "encryption",
        holds=lambda p: p.encrypts is not None or p.model_release == "Coordinator",
        field="modelRelease",
    ),
)


# --- what is planned -------------------------------------------------------------------------------------------------


class RosterMember(ApiModel):
    """One participant: who signs for it, and how its update counts. All of this is public."""

    name: ShortName = Field(description="Name of the participant within the job.")
    identity: str = Field(max_length=1024, description="Public key of its signatures (Ed25519, PEM).")
    scale: PositiveDecimal = Field(description="Factor of its update before encryption, greater than 0 and at most 1.")
    mass: PositiveDecimal = Field(description="What it adds to the denominator of the mean.")

    RULES: ClassVar[tuple[Rule, ...]] = (
        between("scale", "scale", low="0.0", high="1.0", open_low=True),
        between("mass", "mass", low="0.0", open_low=True),
    )


class EncryptionPlan(ApiModel):
    """What all gates of a job agree on: the same for every participant."""

    scheme: EncryptingScheme = Field(description="How updates are encrypted.")
    key_maker: ShortName = Field(description="Participant whose gate makes the key.")
    quorum: int = Field(ge=2, le=1024, description="Smallest number of updates in a sum that is decrypted.")
    collusion_threshold: int = Field(
        default=0, ge=0, le=1022, description="Participants that may lie, and still only whole sums are decrypted."
    )
    rounds: int = Field(ge=1, le=100_000, description="Rounds, with one decrypted sum at most for each.")
    model_release: ModelRelease = Field(default="Coordinator", description="Who gets the plain model at the end.")
    range: PositiveDecimal | None = Field(
        default=None, description="Without differential privacy: largest change of one parameter in round 1."
    )
    terms: Digest = Field(description="Canonical hash of all else that the participants' plans have in common.")
    roster: list[RosterMember] = Field(
        min_length=2,
        max_length=1024,
        description="The participants in the job's order, with pinned identities.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )

    def agreement(self, job_uid: str) -> str:
        """`sha256:…` of the job's uid and this whole plan: what every signature is bound to."""
        return canonical_hash({"job": job_uid, "encryption": self.to_wire()})

    def member(self, name: str) -> RosterMember:
        """The participant of that name. Raises KeyError for one that the job does not have."""
        for member in self.roster:
            if member.name == name:
                return member
        raise KeyError(name)

    @property
    def names(self) -> list[str]:
        """Names in the roster's order."""
        return [member.name for member in self.roster]

    @property
    def votes(self) -> int:
        """Equal votes that make a list of contributions, or a model, the one of its round."""
        return least_votes(len(self.roster), self.collusion_threshold)

    @property
    def verifiers(self) -> int:
        """Gates that recompute each half of a sum: one more than may lie."""
        return self.collusion_threshold + 1

    @property
    def keeps_halves_apart(self) -> bool:
        """Whether no gate verifies both halves of a round, so that none gets another's whole ciphertext."""
        return keeps_halves_apart(self.quorum, self.collusion_threshold)
