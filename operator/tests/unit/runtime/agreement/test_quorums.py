"""Why votes = (n + t) // 2 + 1: two lists never both get as many while at most t gates vote twice."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.api.encryption import least_quorum, least_votes
from hanse.runtime.agreement import Ballot, Refused, checks, list_digest
from tests.unit.runtime.agreement.world import Gate, fingerprint, world


@st.composite
def fleets(draw: st.DrawFn) -> tuple[int, int]:
    count = draw(st.integers(3, 1024))
    return count, draw(st.integers(0, count - 2))


@given(fleets(), st.data())
def test_two_lists_never_both_get_the_votes(fleet: tuple[int, int], data: st.DataObject) -> None:
    count, liars = fleet
    first = data.draw(st.integers(0, count - liars), label="honest gates that are asked for the first list first")
    most = [liars + first, liars + count - liars - first]

    assert min(most) < least_votes(count, liars)


@given(fleets())
def test_the_bound_is_tight_up_to_parity(fleet: tuple[int, int]) -> None:
    """The control: with one vote less both lists may get them."""
    count, liars = fleet
    first = (count - liars) // 2

    assert min(liars + first, liars + count - liars - first) >= least_votes(count, liars) - 1


@given(fleets())
def test_a_quorum_is_enough_to_vote_and_holds_two_who_do_not_collude(fleet: tuple[int, int]) -> None:
    count, liars = fleet
    quorum = least_quorum(count, liars)

    assert quorum >= least_votes(count, liars)
    assert quorum - liars >= 2


@settings(max_examples=60, deadline=None)
@given(data=st.data(), threshold=st.integers(0, 2))
def test_real_gates_asked_in_any_order_never_elect_two_lists(data: st.DataObject, threshold: int) -> None:
    """Honest gates with their ballots, killed and restarted at will; t gates that sign whatever they are asked."""
    job = world(5, threshold)
    whole = job.contributions(job.names)
    lists = [whole, whole[1:] if len(whole) - 1 >= job.plan.quorum else whole[:-1]]
    if len(lists[1]) < job.plan.quorum:  # no second list exists: a sum of all or none
        lists[1] = [*whole[:-1], job.contribution("city-e", 1, attempt=2)[0]]
    digests = [list_digest(one) for one in lists]
    liars = set(data.draw(st.permutations(job.names))[:threshold])
    votes: list[dict[str, object]] = [{}, {}]
    with TemporaryDirectory() as root:
        asked = st.tuples(st.sampled_from(job.names), st.integers(0, 1))
        for name, which in data.draw(st.lists(asked, max_size=15)):
            try:
                # A new one each time: nothing but the disk keeps it to its word.
                gate = Gate(job, name, Path(root))
                vote = job.signers[name].vote(1, digests[which]) if name in liars else gate.vote(1, lists[which])
            except Refused:
                continue
            votes[which][name] = vote
    elected = 0
    for which in (0, 1):
        try:
            checks.check_votes(
                list(votes[which].values()),  # type: ignore[arg-type]
                roster=job.roster,
                round=1,
                list_digest=digests[which],
            )
            elected += 1
        except Refused:
            pass
    assert elected <= 1


def test_one_liar_more_than_the_threshold_elects_two_lists(tmp_path: Path) -> None:
    """The control: t = 0, three gates, one votes twice, and both lists have their two votes."""
    job = world()
    gates = [Gate(job, name, tmp_path) for name in job.names]
    lists = [job.contributions(job.names), job.contributions(job.names[1:])]
    for listed, honest in zip(lists, gates[:2], strict=True):
        digest = list_digest(listed)
        votes = [honest.vote(1, listed), job.signers["city-c"].vote(1, digest)]
        checks.check_votes(votes, roster=job.roster, round=1, list_digest=digest)


def test_a_gate_that_confirmed_a_key_keeps_to_it_after_a_restart(tmp_path: Path) -> None:
    agreement = world().roster.agreement
    Ballot(tmp_path, agreement).confirm(1, fingerprint(b"one"))

    assert Ballot(tmp_path, agreement).fingerprint == fingerprint(b"one")
