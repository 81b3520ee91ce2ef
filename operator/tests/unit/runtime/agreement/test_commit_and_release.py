"""One model for a round, and its one way out: commits and releases that are refused by name, with controls."""

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import Applied, Commit, Refused, Release, checks, digest_of, roster
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.agreement.world import UID, world

JOB = world(5, threshold=1)  # 4 votes
D1, D2, MODEL, STATE = (digest_of(word) for word in (b"list", b"sum", b"model", b"state"))
CODE = ReplyCode


def applied(name: str, **changes: object) -> Applied:
    fields = {"round": 2, "base": 1, "list_digest": D1, "sum_digest": D2, "model": MODEL, "state": STATE}
    return JOB.signers[name].applied(**{**fields, **changes})  # type: ignore[arg-type]


def commit(*words: Applied) -> Commit:
    return Commit(round=2, applied=list(words))


FOUR = JOB.names[:4]
EVIL = digest_of(b"the server's model")

COMMITS: list[tuple[str, Callable[[], Commit], ReplyCode, str, ModuleType, str]] = [
    (
        "too few",
        lambda: commit(*(applied(name, model=EVIL) for name in FOUR[:3])),
        CODE.MODEL_MISMATCH,
        "3 gates have this model after round 2, 4 must",
        checks,
        "gates have this model after",
    ),
    (
        "one gate four times",
        lambda: commit(*[applied("city-a", model=EVIL)] * 4),
        CODE.SUM_REFUSED,
        "city-a stands twice in a list of applied",
        roster,
        "stands twice",
    ),
    (
        "signed by the server",
        lambda: commit(*(applied("city-a").model_copy(update={"participant": name, "model": EVIL}) for name in FOUR)),
        CODE.SIGNATURE_INVALID,
        "applied of city-a is not signed by city-a",
        roster,
        "is not signed by",
    ),
    (
        "another model among them",
        lambda: commit(applied("city-a", model=EVIL), *(applied(name) for name in FOUR[1:])),
        CODE.MODEL_MISMATCH,
        "city-a and city-b differ after round 2",
        checks,
        "differ after round",
    ),
    (
        "an old round",
        lambda: commit(*(applied(name, round=1, base=0, model=EVIL) for name in FOUR)),
        CODE.STALE_ROUND,
        "city-a speaks of round 1 after 0, this is round 2",
        checks,
        "speaks of round",
    ),
]


@pytest.mark.parametrize(("name", "made", "code", "words", "module", "refusal"), COMMITS, ids=[c[0] for c in COMMITS])
def test_a_commit_is_refused_by_name(
    name: str, made: Callable[[], Commit], code: ReplyCode, words: str, module: ModuleType, refusal: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        checks.check_applied(made(), roster=JOB.roster)
    assert refused.value.code == code

    mutant = without(module, refusal)
    judge, judged = (mutant, JOB.roster) if module is checks else (checks, mutant.Roster(JOB.plan, UID))
    assert judge.check_applied(made(), roster=judged).model == EVIL


@pytest.mark.parametrize("field", ["base", "list_digest", "sum_digest", "model", "state"])
def test_gates_must_agree_in_everything(field: str) -> None:
    other = applied("city-d", **{field: 0 if field == "base" else digest_of(b"another")})

    with pytest.raises(Refused, match="city-a and city-d differ") as refused:
        checks.check_applied(commit(*(applied(name) for name in FOUR[:3]), other), roster=JOB.roster)
    assert refused.value.code == CODE.MODEL_MISMATCH


def test_a_base_is_before_its_round() -> None:
    with pytest.raises(Refused, match="city-a speaks of round 2 after 2"):
        checks.check_applied(commit(*(applied(name, base=2) for name in FOUR)), roster=JOB.roster)


def test_the_server_settles_on_what_most_say() -> None:
    words = [applied("city-c", model=EVIL), *(applied(name) for name in ("city-a", "city-b", "city-d", "city-e"))]

    settled = checks.settle(2, words, roster=JOB.roster)

    assert [one.participant for one in settled.applied] == ["city-a", "city-b", "city-d", "city-e"]
    assert checks.check_applied(settled, roster=JOB.roster) == checks.Outcome(2, 1, D1, D2, MODEL, STATE)


def test_a_void_round_names_who_differs() -> None:
    words = [applied("city-c", model=EVIL), applied("city-b", state=EVIL), applied("city-a"), applied("city-d")]

    with pytest.raises(Refused, match="2 gates agree after round 2, 4 must; others: city-b, city-c") as refused:
        checks.settle(2, words, roster=JOB.roster)
    assert refused.value.code == CODE.MODEL_MISMATCH
    with pytest.raises(Refused, match="0 gates have this model"):
        checks.settle(2, [], roster=JOB.roster)


def test_an_old_sum_is_no_commit_of_the_next_round() -> None:
    with pytest.raises(Refused, match="speaks of round 2 after 1, this is round 3"):
        checks.check_applied(Commit(round=3, applied=[applied(name) for name in FOUR]), roster=JOB.roster)


# --- release ---------------------------------------------------------------------------------------------------------


def releases(names: Sequence[str], round: int = 2, model: str = MODEL) -> list[Release]:
    return [JOB.signers[name].release(round, model, "Coordinator") for name in names]


def released(words: Sequence[Release], judge: ModuleType = checks, judged: roster.Roster = JOB.roster) -> None:
    judge.check_releases(words, roster=judged, round=2, model=MODEL, contributors={"city-a", "city-b", "city-c"})


def test_the_model_leaves_with_everybodys_word() -> None:
    released(releases(["city-a", "city-b", "city-c"]))
    released(releases(JOB.names))


RELEASES: list[tuple[str, Callable[[], list[Release]], ReplyCode, str, ModuleType, str]] = [
    (
        "one is missing",
        lambda: releases(["city-a", "city-c", "city-d"]),
        CODE.RELEASE_REFUSED,
        "without a release: city-b",
        checks,
        "holds updates without",
    ),
    (
        "another model",
        lambda: [*releases(["city-a", "city-b"]), *releases(["city-c"], model=EVIL)],
        CODE.RELEASE_REFUSED,
        "city-c releases another model",
        checks,
        "releases another model",
    ),
    (
        "an older round",
        lambda: [*releases(["city-a", "city-b"]), *releases(["city-c"], round=1)],
        CODE.RELEASE_REFUSED,
        "city-c releases another model",
        checks,
        "releases another model",
    ),
    (
        "to others",
        lambda: [*releases(["city-a", "city-b"]), JOB.signers["city-c"].release(2, MODEL, "Participants")],
        CODE.RELEASE_REFUSED,
        "city-c releases another model than that of round 2, or to others",
        checks,
        "releases another model",
    ),
    (
        "signed by the server",
        lambda: [releases(["city-a"])[0].model_copy(update={"participant": name}) for name in FOUR],
        CODE.SIGNATURE_INVALID,
        "release of city-b is not signed by city-b",
        roster,
        "is not signed by",
    ),
]


@pytest.mark.parametrize(("name", "made", "code", "words", "module", "refusal"), RELEASES, ids=[r[0] for r in RELEASES])
def test_a_release_is_refused_by_name(
    name: str, made: Callable[[], list[Release]], code: ReplyCode, words: str, module: ModuleType, refusal: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        released(made())
    assert refused.value.code == code

    mutant = without(module, refusal)
    released(made(), *((mutant,) if module is checks else (checks, mutant.Roster(JOB.plan, UID))))


def test_a_model_that_nobody_may_have_leaves_with_nobodys_word() -> None:
    job = world(release="Never")
    words = [signer.release(2, MODEL, "Coordinator") for signer in job.signers.values()]

    with pytest.raises(Refused, match="the model leaves no gate") as refused:
        checks.check_releases(words, roster=job.roster, round=2, model=MODEL, contributors=job.names)
    assert refused.value.code == CODE.RELEASE_REFUSED


def test_a_model_without_contributors_is_not_released() -> None:
    with pytest.raises(Refused, match="without a release: nobody"):
        checks.check_releases(releases(FOUR), roster=JOB.roster, round=2, model=MODEL, contributors=set())


def test_verifiers_rotate_over_who_is_there() -> None:
    present = ["city-e", "city-c", "city-a"]
    chosen = [checks.verifiers(present, roster=JOB.roster, round=number) for number in range(1, 4)]

    assert chosen == [  # three, where it takes four: one has to take both halves
        {"Bodies": ("city-a", "city-c"), "Seeds": ("city-e", "city-a")},
        {"Bodies": ("city-c", "city-e"), "Seeds": ("city-a", "city-c")},
        {"Bodies": ("city-e", "city-a"), "Seeds": ("city-c", "city-e")},
    ]
    four = checks.verifiers(JOB.names[:4], roster=JOB.roster, round=2)
    assert four == {"Bodies": ("city-a", "city-b"), "Seeds": ("city-c", "city-d")}
    assert checks.verifiers(["city-d"], roster=JOB.roster, round=7) == {"Bodies": ("city-d",), "Seeds": ("city-d",)}
    assert checks.verifiers([], roster=JOB.roster, round=7) == {"Bodies": (), "Seeds": ()}
