"""What a hostile server tries with the halves of ciphertexts, each with its control: see test_round_attacks.

A gate holds the key, so who gets both halves of an update reads it; and a sum is two sums, of which each must be the
list's.
"""

import json
from pathlib import Path

import pytest

from hanse.api.encryption import HALVES, keeps_halves_apart
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Refused, ballot, checks, digest_of
from tests.unit.runtime.agreement.cases import Case, Row, tried
from tests.unit.runtime.agreement.hostile_server import ALL, OTHERS, VALUE, Server, unguarded
from tests.unit.runtime.agreement.world import Gate, world

CODE = ReplyCode


def mixed(value_of: bytes, nonces_of: bytes) -> bytes:
    """The body of one ciphertext or sum with the seeds of another."""
    return json.dumps({**json.loads(value_of), "nonces": json.loads(nonces_of)["nonces"]}).encode()


def only_bodies_are_verified(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed[:1], server.sum_of(*ALL))


def only_seeds_are_verified(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed[1:], server.sum_of(*ALL))


def bodies_of_all_with_the_seeds_of_one(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, mixed(server.sum_of(*ALL), server.sum_of("city-a")))


def a_body_of_one_with_the_seeds_of_all(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, mixed(server.sum_of("city-a"), server.sum_of(*ALL)))


def seeds_of_another_round(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    other = server.lie("city-b", listed, "Seeds", server.sum_of(*ALL), round=2)
    server.gates["city-b"].apply(1, listed, votes, [recomputed[0], other], server.sum_of(*ALL))


def seeds_of_another_list(server: Server) -> None:
    listed = server.contributions
    votes, recomputed = server.collect(listed, ALL)
    other = server.lie("city-b", listed, "Seeds", server.sum_of(*ALL), other=digest_of(b"other"))
    server.gates["city-b"].apply(1, listed, votes, [recomputed[0], other], server.sum_of(*ALL))


def seeds_swapped_between_two(server: Server) -> None:
    """Their sum is the same; whose they are is not."""
    listed, sent = server.contributions, server.ciphertexts
    votes = [gate.vote(1, listed) for gate in server.gates.values()]
    recomputed = [server.verify("city-c", listed, "Bodies")]
    server.ciphertexts = {**sent, "city-a": sent["city-b"], "city-b": sent["city-a"]}
    recomputed.append(server.verify("city-a", listed, "Seeds"))
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def both_halves_to_one_gate(server: Server) -> None:
    listed = server.contributions
    votes = [gate.vote(1, listed) for gate in server.gates.values()]
    recomputed = [server.verify("city-c", listed, half) for half in HALVES]
    liar = server.lie("city-a", listed, "Seeds", server.sum_of(*ALL))
    server.gates["city-b"].apply(1, listed, votes, [recomputed[0], liar], server.sum_of(*ALL))


def both_halves_to_a_gate_that_takes_them(server: Server) -> None:
    """A changed gate says nothing against it; the others see it by its words."""
    listed = server.contributions
    votes = [gate.vote(1, listed) for gate in server.gates.values()]
    recomputed = [server.lie("city-c", listed, half, server.sum_of(*ALL)) for half in HALVES]
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


def anothers_body_with_its_own_seeds(server: Server) -> None:
    """As a whole it is another ciphertext than city-a's."""
    mine, own = server.of("city-a")[0], server.of("city-c")[0]
    halves = {"Bodies": mine.bodies, "Seeds": own.seeds}
    listed = [*server.of("city-a", "city-b"), server.job.contribution("city-c", OTHERS, halves=halves)[0]]
    server.ciphertexts["city-c"] = mixed(server.ciphertexts["city-a"], server.ciphertexts["city-c"])
    votes, recomputed = server.collect(listed, ALL)
    server.gates["city-b"].apply(1, listed, votes, recomputed, server.sum_of(*ALL))


REFUSED: list[Row[Server]] = [
    (only_bodies_are_verified, CODE.SUM_REFUSED, "0 gates have computed the sum of the seeds", checks, "have computed"),
    (only_seeds_are_verified, CODE.SUM_REFUSED, "0 gates have computed the sum of the bodies", checks, "have computed"),
    (
        bodies_of_all_with_the_seeds_of_one,
        CODE.SUM_REFUSED,
        "not the sum that city-b has computed",
        checks,
        "this is not the sum",
    ),
    (
        a_body_of_one_with_the_seeds_of_all,
        CODE.SUM_REFUSED,
        "not the sum that city-a has computed",
        checks,
        "this is not the sum",
    ),
    (seeds_of_another_round, CODE.STALE_ROUND, "sum of city-b is of round 2", checks, "sum of {one.participant} is"),
    (seeds_of_another_list, CODE.SUM_REFUSED, "city-b has added up another list", checks, "has added up another"),
    (
        seeds_swapped_between_two,
        CODE.CIPHERTEXT_INVALID,
        "the seeds are not those that city-a has signed",
        checks,
        "are not those that",
    ),
    (both_halves_to_one_gate, CODE.SUM_REFUSED, "has had the bodies of round 1", ballot, "this gate has had"),
    (
        both_halves_to_a_gate_that_takes_them,
        CODE.SUM_REFUSED,
        "city-c has had both halves",
        checks,
        "has had both halves",
    ),
    (anothers_body_with_its_own_seeds, CODE.SUM_REFUSED, "city-a and city-c send the same", checks, "send the same"),
]


@tried(REFUSED)
def test_it_is_refused_by_name(tmp_path: Path, case: Case[Server]) -> None:
    server = Server(tmp_path)

    case.is_refused(server)

    assert not server.read()


@tried(REFUSED)
def test_without_that_refusal_it_goes_through(tmp_path: Path, case: Case[Server]) -> None:
    server = unguarded(tmp_path, case)

    case.attack(server)

    assert server.read()


def test_two_gates_with_a_half_each_read_a_list_as_a_whole_alone(tmp_path: Path) -> None:
    """The sum of the two halves that were verified apart is the sum."""
    server = Server(tmp_path)
    votes, recomputed = server.collect(server.contributions, ["city-c", "city-a"])

    server.gates["city-b"].apply(1, server.contributions, votes, recomputed, server.sum_of(*ALL))

    assert server.read() == [VALUE + 2 * OTHERS]


@pytest.mark.parametrize(("threshold", "quorum", "apart"), [(0, 2, True), (1, 3, False), (1, 4, True), (2, 5, False)])
def test_a_quorum_too_small_for_two_groups_of_verifiers_shares_them(
    tmp_path: Path, threshold: int, quorum: int, apart: bool
) -> None:
    assert keeps_halves_apart(quorum, threshold) is apart
    job = world(quorum + (quorum == 2), threshold, quorum)
    assert job.plan.keeps_halves_apart is apart
    gate = Gate(job, "city-a", tmp_path)
    listed = job.contributions(job.names)
    gate.vote(1, listed)
    gate.ballot.take(1, "Bodies")
    words = [
        job.signers[name].recomputed(1, gate.vote(1, listed).list_digest, half, digest_of(b"sum"))
        for half in HALVES
        for name in job.names[: threshold + 1]
    ]
    sums = dict.fromkeys(HALVES, digest_of(b"sum"))
    about = {"roster": job.roster, "round": 1, "list_digest": words[0].list_digest, "sums": sums}
    if not apart:
        checks.check_recomputed(words, **about)  # type: ignore[arg-type]
        return
    with pytest.raises(Refused, match="city-a has had both halves"):
        checks.check_recomputed(words, **about)  # type: ignore[arg-type]
