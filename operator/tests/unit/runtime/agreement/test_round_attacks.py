"""What a hostile server tries in a round, each with its control: without that one refusal it learns an update.

The victim is city-a, whose update is VALUE. `Gate.read` is what honest gates decrypted: it must be the sum of a list,
and one sum for a round.
"""

from pathlib import Path
from typing import Any

from hanse.api.encryption import HALVES
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Signer, ballot, checks, digest_of, list_digest, roster
from tests.unit.runtime.agreement.cases import Case, Row, tried
from tests.unit.runtime.agreement.hostile_server import ALL, OTHERS, VALUE, Server, unguarded
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.agreement.world import KEY, OTHER_KEY, encrypt, halves_of, world


def one_upload_as_the_list(server: Server) -> None:
    listed = server.of("city-a")
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of("city-a"))


def one_upload_as_the_sum(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of("city-a"))


def one_upload_three_times(server: Server) -> None:
    listed = server.of("city-a") * 3
    votes = [gate.vote(1, listed) for gate in server.gates.values()]
    total = server.sum_of("city-a", "city-a", "city-a")
    recomputed = [server.verify("city-c", listed, "Bodies"), server.verify("city-a", listed, "Seeds")]
    assert {one.half: one.sum_digest for one in recomputed} == halves_of(total)
    server.gates["city-b"].apply(1, listed, votes, recomputed, total)


def one_upload_for_three_in_a_verifiers_arrays(server: Server) -> None:
    listed = server.contributions
    votes = [gate.vote(1, listed) for gate in server.gates.values()]
    server.ciphertexts = dict.fromkeys(ALL, server.ciphertexts["city-a"])
    recomputed = [server.verify("city-c", listed, "Bodies"), server.verify("city-a", listed, "Seeds")]
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def one_ciphertext_signed_by_three(server: Server) -> None:
    """Two gates that collude sign the victim's ciphertext as their own."""
    mine = server.of("city-a")[0]
    stolen: dict[str, Any] = {"digest": mine.digest, "halves": halves_of(server.ciphertexts["city-a"])}
    listed = [mine, *(server.job.contribution(name, **stolen)[0] for name in ("city-b", "city-c"))]
    server.ciphertexts = dict.fromkeys(ALL, server.ciphertexts["city-a"])
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def another_weight(server: Server) -> None:
    """A gate that lies about its weight would move the mean's numerator alone."""
    listed = [*server.of("city-a", "city-b"), server.job.contribution("city-c", OTHERS, scale="0.25")[0]]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def another_key(server: Server) -> None:
    """Under a key of the server's own making the others' uploads would be plain to it."""
    listed = []
    for name in ALL:
        contribution, server.ciphertexts[name] = server.job.contribution(name, OTHERS, key=OTHER_KEY)
        listed.append(contribution)
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def two_epochs(server: Server) -> None:
    listed = [*server.of("city-a", "city-b"), server.job.contribution("city-c", OTHERS, epoch=2)[0]]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def an_update_of_another_model(server: Server) -> None:
    listed = [*server.of("city-a", "city-b"), server.job.contribution("city-c", OTHERS, base=digest_of(b"other"))[0]]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def one_app_that_learns_and_two_that_do_not(server: Server) -> None:
    """The others' apps are given statistics that blot their features out: the sum is city-c's update."""
    listed = [*server.of("city-a", "city-b"), server.job.contribution("city-c", OTHERS, asked=digest_of(b"1"))[0]]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def an_old_upload(server: Server) -> None:
    """What city-c has sent in round 2 stands in for round 1."""
    contribution, server.ciphertexts["city-c"] = server.job.contribution("city-c", OTHERS, round=2)
    listed = [*server.of("city-a", "city-b"), contribution]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def a_strangers_update(server: Server) -> None:
    """The server adds a participant of its own, whose update it can subtract."""
    agreement, real = server.job.roster.agreement, server.of("city-a")[0]
    server.ciphertexts["city-d"] = encrypt(KEY, "nonce of the server", OTHERS)
    fields: dict[str, Any] = {"attempt": 1, "scale": real.scale, "base": real.base, "asked": real.asked}
    fields["digest"], fields["halves"] = (
        digest_of(server.ciphertexts["city-d"]),
        halves_of(server.ciphertexts["city-d"]),
    )
    stranger = Signer(world(4).keys["city-d"].private, "city-d", agreement)
    forged = stranger.contribution(epoch=1, fingerprint=real.fingerprint, round=1, **fields)
    listed = [real, forged]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of("city-a", "city-d"))


def an_update_that_the_server_signs(server: Server) -> None:
    """It knows the plan, but not city-b's identity: it signs with another."""
    forger = server.job.signers["city-c"]
    real = server.of("city-b")[0]
    ciphertext = encrypt(KEY, "nonce of the server", 0)
    server.ciphertexts["city-b"] = ciphertext
    fields: dict[str, Any] = {"attempt": 1, "scale": real.scale, "base": real.base, "asked": real.asked}
    fields["digest"], fields["halves"] = digest_of(ciphertext), halves_of(ciphertext)
    forged = forger.contribution(epoch=1, fingerprint=real.fingerprint, round=1, **fields)
    listed = [*server.of("city-a"), forged.model_copy(update={"participant": "city-b"})]
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of("city-a", "city-b"))


def two_subsets_at_two_gates(server: Server) -> None:
    """The difference of the two sums is city-a's update."""
    whole, part = server.contributions, server.of("city-b", "city-c")
    votes, recomputed = server.collect(whole, ["city-a"])
    server.gates["city-a"].apply(1, whole, votes, recomputed, server.sum_of(*ALL))
    votes, recomputed = server.collect(part, ["city-b"])
    server.gates["city-b"].apply(1, part, votes, recomputed, server.sum_of("city-b", "city-c"))


def two_lists_for_one_gate(server: Server) -> None:
    whole, part = server.contributions, server.of("city-b", "city-c")
    votes, recomputed = server.collect(whole, ALL)
    server.gates["city-a"].apply(1, whole, votes, recomputed, server.sum_of(*ALL))
    votes, recomputed = server.collect(part, ALL)
    server.gates["city-b"].apply(1, part, votes, recomputed, server.sum_of("city-b", "city-c"))


def one_vote_twice(server: Server) -> None:
    whole, part = server.contributions, server.of("city-b", "city-c")
    votes, recomputed = server.collect(whole, ["city-a"])
    server.gates["city-a"].apply(1, whole, votes * 2, recomputed, server.sum_of(*ALL))
    votes, recomputed = server.collect(part, ["city-b"])
    server.gates["city-b"].apply(1, part, votes * 2, recomputed, server.sum_of("city-b", "city-c"))


def votes_for_another_list(server: Server) -> None:
    whole, part = server.contributions, server.of("city-b", "city-c")
    votes, recomputed = server.collect(whole, ["city-a", "city-b"])
    server.gates["city-a"].apply(1, whole, votes, recomputed, server.sum_of(*ALL))
    _, recomputed = server.collect(part, ["city-c"])
    server.gates["city-c"].apply(1, part, votes, recomputed, server.sum_of("city-b", "city-c"))


def votes_of_another_round(server: Server) -> None:
    """Gates that were asked for round 2 first have voted there."""
    listed = server.contributions
    _, recomputed = server.collect(listed, ["city-c"])
    votes = server.job.votes(ALL, list_digest(listed), round=2)
    server.gates["city-c"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def nobody_has_added(server: Server) -> None:
    listed = server.contributions
    votes, _ = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, [], server.sum_of("city-a"))


def the_sum_of_another_list(server: Server) -> None:
    """Lists of two rounds' attempts: the verifier's word is for another one."""
    listed = server.contributions
    votes, _ = server.collect(listed, ALL)
    total, other = server.sum_of("city-a"), digest_of(b"other")
    liars = zip(("city-c", "city-a"), HALVES, strict=True)
    words = [server.lie(name, listed, half, total, other=other) for name, half in liars]
    server.gates["city-b"].apply(1, listed, votes, words, total)


def the_sum_of_another_round(server: Server) -> None:
    listed = server.contributions
    votes, _ = server.collect(listed, ALL)
    total = server.sum_of("city-a")
    liars = zip(("city-c", "city-a"), HALVES, strict=True)
    words = [server.lie(name, listed, half, total, round=2) for name, half in liars]
    server.gates["city-b"].apply(1, listed, votes, words, total)


def a_round_after_the_last(server: Server) -> None:
    """More decrypted sums than the plan and its noise allow for."""
    late = {name: server.job.contribution(name, OTHERS, round=6) for name in ALL}
    listed = [contribution for contribution, _ in late.values()]
    votes = [server.gates[name].vote(6, listed) for name in ALL]
    server.ciphertexts = {name: one for name, (_, one) in late.items()}
    words = [server.verify(who, listed, half, 6) for who, half in zip(ALL, HALVES, strict=False)]
    server.gates["city-b"].apply(6, listed, votes, words, server.sum_of(*ALL))


CODE = ReplyCode
REFUSED: list[Row[Server]] = [
    (one_upload_as_the_list, CODE.TOO_FEW_CONTRIBUTIONS, "1 updates, 2 are the least", checks, "updates, {roster"),
    (one_upload_as_the_sum, CODE.SUM_REFUSED, "not the sum that city-a has computed", checks, "this is not the sum"),
    (one_upload_three_times, CODE.SUM_REFUSED, "city-a stands twice", roster, "stands twice"),
    (
        one_upload_for_three_in_a_verifiers_arrays,
        CODE.CIPHERTEXT_INVALID,
        "bodies are not those that city-b has signed",
        checks,
        "are not those that",
    ),
    (one_ciphertext_signed_by_three, CODE.SUM_REFUSED, "city-a and city-b send the same", checks, "send the same"),
    (another_weight, CODE.SUM_REFUSED, "city-c has the weight 0.25, the plan says 0.5", checks, "has the weight"),
    (another_key, CODE.KEY_REFUSED, "city-a is encrypted under another key", checks, "is encrypted under"),
    (two_epochs, CODE.KEY_REFUSED, "city-a and city-c are of two epochs", checks, "of two epochs"),
    (an_update_of_another_model, CODE.MODEL_MISMATCH, "city-c was trained on another", checks, "was trained on"),
    (
        one_app_that_learns_and_two_that_do_not,
        CODE.SUM_REFUSED,
        "city-a and city-c different things",
        checks,
        "different things to train with",
    ),
    (an_old_upload, CODE.STALE_ROUND, "city-c is of round 2, this is round 1", checks, "update of {who} is of round"),
    (a_strangers_update, CODE.SIGNATURE_INVALID, "city-d is no participant", roster, "no participant"),
    (an_update_that_the_server_signs, CODE.SIGNATURE_INVALID, "not signed by city-b", roster, "is not signed by"),
    (two_subsets_at_two_gates, CODE.SUM_REFUSED, "1 votes for the list, 2 are the least", checks, "votes for the list"),
    (two_lists_for_one_gate, CODE.SECOND_SUM, "another list for round 1", ballot, "has taken another list"),
    (one_vote_twice, CODE.SUM_REFUSED, "city-a stands twice in a list of vote", roster, "stands twice"),
    (votes_for_another_list, CODE.SECOND_SUM, "city-a has voted for another list", checks, "has voted for another"),
    (votes_of_another_round, CODE.STALE_ROUND, "vote of city-a is of round 2", checks, "vote of {one.participant} is"),
    (
        nobody_has_added,
        CODE.SUM_REFUSED,
        "0 gates have computed the sum of the bodies, 1 must",
        checks,
        "have computed the sum",
    ),
    (the_sum_of_another_list, CODE.SUM_REFUSED, "city-c has added up another list", checks, "has added up another"),
    (the_sum_of_another_round, CODE.STALE_ROUND, "sum of city-c is of round 2", checks, "sum of {one.participant} is"),
    (a_round_after_the_last, CODE.STALE_ROUND, "round 6 is asked for after round 0 of 5", checks, "is asked for after"),
]


@tried(REFUSED)
def test_it_is_refused_by_name(tmp_path: Path, case: Case[Server]) -> None:
    server = Server(tmp_path)

    case.is_refused(server)

    assert len(set(server.read())) <= 1


@tried(REFUSED)
def test_without_that_refusal_it_goes_through(tmp_path: Path, case: Case[Server]) -> None:
    """The control: the very attack reaches a decryption that must not be."""
    server = unguarded(tmp_path, case)

    case.attack(server)

    assert server.read()


def test_an_honest_round_is_read_once_and_alike(tmp_path: Path) -> None:
    server = Server(tmp_path)
    votes, recomputed = server.collect(server.contributions, ALL)

    applied = [
        gate.apply(1, server.contributions, votes, recomputed, server.sum_of(*ALL)) for gate in server.gates.values()
    ]
    commit = checks.settle(1, applied, roster=server.job.roster)
    for gate in server.gates.values():
        gate.commit(commit)

    assert server.read() == [VALUE + 2 * OTHERS] * 3
    assert {gate.model for gate in server.gates.values()} == {applied[0].model}


def test_what_the_server_learns_without_the_checks(tmp_path: Path) -> None:
    """Two controls in numbers: one upload as the sum reads it; two subsets read it as a difference."""
    server = Server(tmp_path / "one", without(checks, "this is not the sum"))
    one_upload_as_the_sum(server)
    assert server.read() == [VALUE]

    server = Server(tmp_path / "two", without(checks, "votes for the list"))
    two_subsets_at_two_gates(server)
    whole, part = server.read()
    assert whole - part == VALUE
