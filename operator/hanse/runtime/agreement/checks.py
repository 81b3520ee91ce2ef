"""The pure checks of the protocol: each passes or raises Refused with its code and whose fault it is.

Gates call them before anything is decrypted, applied or released; the server calls the same ones to sort out what it
was sent before it asks for more. Nothing here is remembered: what a gate has done already is `ballot.Ballot`'s.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hanse.api.encryption import HALVES, EncryptionPlan, Half
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement.messages import Commit
from hanse.runtime.agreement.roster import Roster
from hanse.runtime.agreement.statements import (
    Applied,
    Confirmation,
    Contribution,
    Envelope,
    KeyStatement,
    Prekey,
    Recomputed,
    Release,
    Vote,
    digest_of,
    list_digest,
    prekeys_digest,
)
from hanse.runtime.refused import Refused

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Outcome:
    """What a round ended with, as enough gates say alike."""

    round: int
    base: int
    list_digest: str
    sum_digest: str
    model: str
    state: str

    @classmethod
    def of(cls, one: Applied) -> "Outcome":
        """As one gate says."""
        return cls(one.round, one.base, one.list_digest, one.sum_digest, one.model, one.state)


# --- keys ------------------------------------------------------------------------------------------------------------


def check_prekeys(prekeys: Sequence[Prekey], roster: Roster) -> None:
    """Before a holder wraps the key: each recipient is a participant that has signed its prekey.

    Raises Refused(SIGNATURE_INVALID or SUM_REFUSED: one twice).
    """
    roster.verify_each(prekeys)


def check_key(
    statement: KeyStatement, envelope: Envelope, *, roster: Roster, me: str, prekey: str, known: str | None
) -> None:
    """Before a gate unwraps: the maker's own word, a participant's envelope, for this gate process and this key.

    `known` is the fingerprint that the gate has confirmed before, None without one; `prekey` its own public one.
    Raises Refused(SIGNATURE_INVALID or KEY_REFUSED).
    """
    check_key_statement(statement, roster=roster, known=known)
    roster.verify(envelope)
    if envelope.recipient != me or envelope.prekey != prekey:
        raise Refused(ReplyCode.KEY_REFUSED, f"envelope of {envelope.sender} is not for this gate of {me}")
    if (envelope.epoch, envelope.fingerprint) != (statement.epoch, statement.fingerprint):
        why = f"envelope of {envelope.sender} holds another key than {statement.maker} has made"
        raise Refused(ReplyCode.KEY_REFUSED, why)


def check_key_statement(statement: KeyStatement, *, roster: Roster, known: str | None) -> None:
    """The plan's maker says which key it is, and it is the one that is known, if one is.

    Raises Refused(SIGNATURE_INVALID or KEY_REFUSED).
    """
    maker = roster.plan.key_maker
    if roster.member(statement.maker).name != maker:
        raise Refused(ReplyCode.KEY_REFUSED, f"{statement.maker} says what the key is, but {maker} makes it")
    roster.verify(statement)
    if known is not None and statement.fingerprint != known:
        raise Refused(ReplyCode.KEY_REFUSED, f"{maker} names another key than the one that was confirmed")


def check_confirmation(one: Confirmation, *, roster: Roster, epoch: int, fingerprint: str) -> None:
    """One gate holds the key. Raises Refused(SIGNATURE_INVALID or KEY_REFUSED)."""
    roster.verify(one)
    if (one.epoch, one.fingerprint) != (epoch, fingerprint):
        raise Refused(ReplyCode.KEY_REFUSED, f"{one.participant} has confirmed another key")


def check_confirmations(confirmations: Sequence[Confirmation], *, roster: Roster, epoch: int, fingerprint: str) -> None:
    """Before round 1: a quorum holds this very key.

    Raises Refused(SIGNATURE_INVALID, SUM_REFUSED: one twice, KEY_REFUSED, TOO_FEW_CONTRIBUTIONS).
    """
    roster.verify_each(confirmations)
    for one in confirmations:
        check_confirmation(one, roster=roster, epoch=epoch, fingerprint=fingerprint)
    if len(confirmations) < roster.plan.quorum:
        why = f"{len(confirmations)} participants hold the key, {roster.plan.quorum} must"
        raise Refused(ReplyCode.TOO_FEW_CONTRIBUTIONS, why)


def check_begin(
    confirmations: Sequence[Confirmation],
    prekeys: Sequence[Prekey],
    *,
    roster: Roster,
    prekey: str,
    epoch: int,
    fingerprint: str,
) -> int:
    """Before a gate has its first part in a round: a quorum holds its key, and says so to this very process.

    `prekey` is the process' own public one. Returns the newest round that one of the quorum has had a part in: a gate
    before this one, of the same participant, may have voted in it. With q of n gates and t that lie, q contributors of
    that round and q that speak here have an honest one in common, who still knows, while fewer than 2q - n - t gates
    have lost their records in that round. Raises Refused(SIGNATURE_INVALID, SUM_REFUSED: one twice, KEY_REFUSED,
    TOO_FEW_CONTRIBUTIONS).
    """
    roster.verify_each(prekeys)
    if prekey not in {one.public for one in prekeys}:
        raise Refused(ReplyCode.KEY_REFUSED, "who holds the key has not said so to this gate")
    asked = prekeys_digest(prekeys)
    fresh = [one for one in confirmations if one.prekeys == asked]
    check_confirmations(fresh, roster=roster, epoch=epoch, fingerprint=fingerprint)
    return min(max(one.newest for one in fresh), roster.plan.rounds)


# --- one round -------------------------------------------------------------------------------------------------------


def check_round(number: int, *, plan: EncryptionPlan, committed: int) -> None:
    """The round is one of the plan's and after the last one that is committed. Raises Refused(STALE_ROUND)."""
    if not committed < number <= plan.rounds:
        why = f"round {number} is asked for after round {committed} of {plan.rounds}"
        raise Refused(ReplyCode.STALE_ROUND, why)


def check_contribution(one: Contribution, *, roster: Roster, round: int, fingerprint: str, base: str) -> None:
    """One encrypted update counts in this round: `base` is the digest of the model that it must start from.

    Raises Refused(SIGNATURE_INVALID, STALE_ROUND, KEY_REFUSED, MODEL_MISMATCH, SUM_REFUSED: another weight).
    """
    roster.verify(one)
    who, member = one.participant, roster.member(one.participant)
    if one.round != round:
        raise Refused(ReplyCode.STALE_ROUND, f"update of {who} is of round {one.round}, this is round {round}")
    if one.fingerprint != fingerprint:
        raise Refused(ReplyCode.KEY_REFUSED, f"update of {who} is encrypted under another key")
    if one.base != base:
        raise Refused(ReplyCode.MODEL_MISMATCH, f"update of {who} was trained on another model")
    if one.scale != member.scale:
        why = f"update of {who} has the weight {one.scale}, the plan says {member.scale}"
        raise Refused(ReplyCode.SUM_REFUSED, why)


def check_contributions(
    contributions: Sequence[Contribution], *, roster: Roster, round: int, fingerprint: str, base: str
) -> str:
    """A list that a sum may be made of: a quorum of distinct participants, each with an update of its own.

    Returns its digest. Raises Refused as `check_contribution` does, SUM_REFUSED (one twice) and
    TOO_FEW_CONTRIBUTIONS.
    """
    roster.verify_each(contributions)
    owner: dict[str, str] = {}
    for one in contributions:
        check_contribution(one, roster=roster, round=round, fingerprint=fingerprint, base=base)
        if one.epoch != contributions[0].epoch:
            why = f"updates of {contributions[0].participant} and {one.participant} are of two epochs"
            raise Refused(ReplyCode.KEY_REFUSED, why)
        if one.asked != contributions[0].asked:
            why = f"the server told {contributions[0].participant} and {one.participant} different things to train with"
            raise Refused(ReplyCode.SUM_REFUSED, why)
        for digest in (one.digest, one.bodies):
            if (other := owner.setdefault(digest, one.participant)) != one.participant:
                raise Refused(ReplyCode.SUM_REFUSED, f"{other} and {one.participant} send the same ciphertext")
    if len(contributions) < roster.plan.quorum:
        why = f"the list has {len(contributions)} updates, {roster.plan.quorum} are the least"
        raise Refused(ReplyCode.TOO_FEW_CONTRIBUTIONS, why)
    return list_digest(list(contributions))


def check_ciphertexts(contributions: Sequence[Contribution], half: Half, ciphertexts: Mapping[str, Bytes]) -> None:
    """A verifier got the halves that were signed, all of them and no more. Raises Refused(CIPHERTEXT_INVALID)."""
    names = {one.participant for one in contributions}
    if names != set(ciphertexts):
        odd = ", ".join(sorted(names ^ set(ciphertexts))[:8])
        raise Refused(ReplyCode.CIPHERTEXT_INVALID, f"ciphertexts and signed updates differ: {odd}")
    for one in contributions:
        if digest_of(ciphertexts[one.participant]) != one.half(half):
            why = f"the {half.lower()} are not those that {one.participant} has signed"
            raise Refused(ReplyCode.CIPHERTEXT_INVALID, why)


def check_votes(votes: Sequence[Vote], *, roster: Roster, round: int, list_digest: str) -> None:
    """So many gates have taken this list that no other one can have as many.

    Raises Refused(SIGNATURE_INVALID, STALE_ROUND, SECOND_SUM: a vote for another list, SUM_REFUSED: twice, too few).
    """
    roster.verify_each(votes)
    for one in votes:
        check_vote(one, roster=roster, round=round, list_digest=list_digest)
    if len(votes) < roster.plan.votes:
        raise Refused(ReplyCode.SUM_REFUSED, f"{len(votes)} votes for the list, {roster.plan.votes} are the least")


def check_vote(one: Vote, *, roster: Roster, round: int, list_digest: str) -> None:
    """One vote for this list. Raises Refused(SIGNATURE_INVALID, STALE_ROUND, SECOND_SUM)."""
    roster.verify(one)
    if one.round != round:
        raise Refused(ReplyCode.STALE_ROUND, f"vote of {one.participant} is of round {one.round}, not {round}")
    if one.list_digest != list_digest:
        raise Refused(ReplyCode.SECOND_SUM, f"{one.participant} has voted for another list in round {round}")


def check_recomputed(
    recomputed: Sequence[Recomputed], *, roster: Roster, round: int, list_digest: str, sums: Mapping[Half, str]
) -> None:
    """Of each half more verifiers than may lie say that this is the sum of the list; `sums`: digests by half.

    Where the plan keeps halves apart nobody may have had both. Raises Refused(SIGNATURE_INVALID, STALE_ROUND,
    SUM_REFUSED: another list or sum, one twice, too few).
    """
    for half in HALVES:
        words = [one for one in recomputed if one.half == half]
        _check_half(words, half, roster=roster, round=round, list_digest=list_digest, sum_digest=sums[half])
    had = Counter(one.participant for one in recomputed)
    if roster.plan.keeps_halves_apart and len(had) < len(recomputed):
        why = f"{had.most_common(1)[0][0]} has had both halves of the ciphertexts"
        raise Refused(ReplyCode.SUM_REFUSED, why)


def _check_half(
    recomputed: Sequence[Recomputed], half: Half, *, roster: Roster, round: int, list_digest: str, sum_digest: str
) -> None:
    roster.verify_each(recomputed)
    for one in recomputed:
        if one.round != round:
            why = f"sum of {one.participant} is of round {one.round}, this is round {round}"
            raise Refused(ReplyCode.STALE_ROUND, why)
        if one.list_digest != list_digest:
            raise Refused(ReplyCode.SUM_REFUSED, f"{one.participant} has added up another list")
        if one.sum_digest != sum_digest:
            raise Refused(ReplyCode.SUM_REFUSED, f"this is not the sum that {one.participant} has computed")
    if len(recomputed) < roster.plan.verifiers:
        why = f"{len(recomputed)} gates have computed the sum of the {half.lower()}, {roster.plan.verifiers} must"
        raise Refused(ReplyCode.SUM_REFUSED, why)


def check_applied(commit: Commit, *, roster: Roster) -> Outcome:
    """So many gates have the same model after the round that no other one can be committed.

    Raises Refused(SIGNATURE_INVALID, STALE_ROUND, MODEL_MISMATCH: they differ or are too few, SUM_REFUSED: one twice).
    """
    applied = commit.applied
    roster.verify_each(applied)
    for one in applied:
        if one.round != commit.round or one.base >= one.round:
            why = f"{one.participant} speaks of round {one.round} after {one.base}, this is round {commit.round}"
            raise Refused(ReplyCode.STALE_ROUND, why)
        if Outcome.of(one) != Outcome.of(applied[0]):
            why = f"{applied[0].participant} and {one.participant} differ after round {commit.round}"
            raise Refused(ReplyCode.MODEL_MISMATCH, why)
    if len(applied) < roster.plan.votes:
        why = f"{len(applied)} gates have this model after round {commit.round}, {roster.plan.votes} must"
        raise Refused(ReplyCode.MODEL_MISMATCH, why)
    return Outcome.of(applied[0])


def settle(round: int, applied: Sequence[Applied], *, roster: Roster) -> Commit:
    """The commit that the server makes of what gates have answered: the largest group that says the same.

    Raises Refused(MODEL_MISMATCH), naming who differs: the round is void; and as `check_applied`.
    """
    groups = Counter(Outcome.of(one) for one in applied)
    most = groups.most_common(1)[0][0] if groups else None
    commit = Commit(round=round, applied=[one for one in applied if Outcome.of(one) == most])
    if groups and len(commit.applied) < roster.plan.votes:
        odd = ", ".join(sorted(one.participant for one in applied if Outcome.of(one) != most)[:8])
        why = (
            f"{len(commit.applied)} gates agree after round {round}, {roster.plan.votes} must; others: {odd or 'none'}"
        )
        raise Refused(ReplyCode.MODEL_MISMATCH, why)
    check_applied(commit, roster=roster)
    return commit


# --- the end ---------------------------------------------------------------------------------------------------------


def check_releases(
    releases: Sequence[Release], *, roster: Roster, round: int, model: str, contributors: Collection[str]
) -> None:
    """Everybody whose update is in the model lets it go to whom the plan says.

    Raises Refused(SIGNATURE_INVALID, SUM_REFUSED: one twice, RELEASE_REFUSED).
    """
    to = roster.plan.model_release
    if to == "Never":
        raise Refused(ReplyCode.RELEASE_REFUSED, "the plan says that the model leaves no gate")
    roster.verify_each(releases)
    for one in releases:
        if (one.round, one.model, one.to) != (round, model, to):
            why = f"{one.participant} releases another model than that of round {round}, or to others"
            raise Refused(ReplyCode.RELEASE_REFUSED, why)
    missing = sorted(set(contributors) - {one.participant for one in releases})
    if missing or not contributors:
        who = ", ".join(missing[:8]) or "nobody"
        raise Refused(ReplyCode.RELEASE_REFUSED, f"the model holds updates without a release: {who}")


def verifiers(present: Collection[str], *, roster: Roster, round: int) -> dict[Half, tuple[str, ...]]:
    """Who recomputes the sum of each half: `plan.verifiers` of those present, others each round, so that all pay alike.

    Nobody has both, but where fewer than twice as many are present. A gate does not ask who was chosen: any t+1
    distinct ones hold one that is honest.
    """
    names = [name for name in roster.names if name in present]
    count = min(roster.plan.verifiers, len(names))
    start = 2 * (round - 1) * count % len(names) if names else 0
    order = [*names[start:], *names[:start]] * 2
    return {"Bodies": tuple(order[:count]), "Seeds": tuple(order[count : 2 * count])}
