"""A server that wants one participant's update, against real gates with real keys and ciphertexts: each attempt is
refused by the gates and named in their logs, and the job goes on. Each has its control: with that one check left out of
the gates' code the same attempt gives the server (or a gate whose decryptions are watched) bank-a's update.
"""

import importlib
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import ballot as ballots
from hanse.runtime.agreement import checks, roster, wrapping
from tests.contract.privacy.hostile import (
    CLOSE,
    CODE,
    SECRET,
    A,
    B,
    C,
    Hostile,
    Vector,
    own_update,
)
from tests.contract.privacy.hostile_attacks import (
    a_colluders_key,
    a_model_of_its_own,
    a_participant_of_its_own,
    a_prekey_of_its_own,
    a_sum_that_nobody_computed,
    a_sum_under_another_key,
    a_vote_for_two,
    an_old_list_again,
    an_old_round_again,
    another_envelope,
    its_own_key,
    one_upload_as_the_aggregate,
    one_upload_as_the_list,
    one_upload_in_the_others_places,
    one_upload_signed_by_colluders,
    one_upload_three_times,
    the_model_without_everybodys_word,
    two_lists_around_a_kill,
    two_lists_at_one_gate,
    two_subsets_at_two_gates,
    uploads_of_its_own,
)
from tests.unit.runtime.agreement.mutants import without
from tests.unit.runtime.gate.encrypted_gate import GateRefused

BALLOT: dict[str, Any] = {name: getattr(ballots.Ballot, name) for name in ("_check_list", "decide", "take")}


Attack = Callable[[Hostile], Vector]
#: attack; the code; what stands in a gate's log; the refusals (module, words in its source) that the control leaves out
ATTACKS: list[tuple[Attack, ReplyCode, str, Mapping[ModuleType, list[str]]]] = [
    (
        one_upload_as_the_aggregate,
        CODE.SUM_REFUSED,
        "not the sum that bank-b has computed",
        {checks: ["this is not the sum"]},
    ),
    (one_upload_as_the_list, CODE.TOO_FEW_CONTRIBUTIONS, "has 1 updates, 2 are", {checks: ["updates, {roster"]}),
    (one_upload_three_times, CODE.SUM_REFUSED, "bank-a stands twice", {roster: ["stands twice"]}),
    (
        one_upload_in_the_others_places,
        CODE.CIPHERTEXT_INVALID,
        "bodies are not those that bank-b has signed",
        {checks: ["are not those that"]},
    ),
    (one_upload_signed_by_colluders, CODE.SUM_REFUSED, "bank-a and bank-b send", {checks: ["send the same"]}),
    (uploads_of_its_own, CODE.SIGNATURE_INVALID, "bank-b is not signed by bank-b", {roster: ["is not signed by"]}),
    (a_participant_of_its_own, CODE.SIGNATURE_INVALID, "bank-x is no participant", {}),
    (two_subsets_at_two_gates, CODE.SUM_REFUSED, "1 votes for the list, 2 are", {checks: ["votes for the list"]}),
    (
        two_lists_at_one_gate,
        CODE.SECOND_SUM,
        "another list for round 1",
        {ballots: ["has taken another list", "another sum of"]},
    ),
    (
        two_lists_around_a_kill,
        CODE.SECOND_SUM,
        "another list for round 1",
        {ballots: ["has taken another list", "another sum of"]},
    ),
    (
        an_old_round_again,
        CODE.STALE_ROUND,
        "update of bank-b is of round 1, this is round 2",
        {checks: ["update of {who} is of round"]},
    ),
    (an_old_list_again, CODE.STALE_ROUND, "a list of round 1, but this gate is in round 2", {}),
    (a_vote_for_two, CODE.SUM_REFUSED, "bank-a stands twice in a list of vote", {roster: ["stands twice"]}),
    (
        a_sum_that_nobody_computed,
        CODE.SUM_REFUSED,
        "0 gates have computed the sum of the bodies, 1 must",
        {checks: ["have computed the sum"]},
    ),
    (its_own_key, CODE.SIGNATURE_INVALID, "key of bank-a is not signed by bank-a", {roster: ["is not signed by"]}),
    (a_colluders_key, CODE.KEY_REFUSED, "bank-c says what the key is, but bank-a", {checks: ["says what the key is"]}),
    (another_envelope, CODE.KEY_REFUSED, "bank-c holds another key than it says", {wrapping: ["than it says"]}),
    (a_prekey_of_its_own, CODE.SIGNATURE_INVALID, "prekey of bank-b is not signed", {roster: ["is not signed by"]}),
    (a_sum_under_another_key, CODE.KEY_REFUSED, "bank-c is encrypted under another key", {}),
    (
        the_model_without_everybodys_word,
        CODE.RELEASE_REFUSED,
        "updates without a release: bank-a",
        {checks: ["holds updates without"]},
    ),
    (a_model_of_its_own, CODE.MODEL_MISMATCH, "1 gates have this model after round 1, 2 must", {}),
]
IDS = [one[0].__name__ for one in ATTACKS]


@pytest.mark.parametrize(("attack", "code", "words", "left_out"), ATTACKS, ids=IDS)
def test_it_is_refused_and_named(
    server: Hostile,
    caplog: pytest.LogCaptureFixture,
    attack: Attack,
    code: ReplyCode,
    words: str,
    left_out: Mapping[ModuleType, list[str]],
) -> None:
    caplog.set_level(logging.INFO)

    with pytest.raises(GateRefused) as caught:
        attack(server)

    assert caught.value.code == code
    assert words in caplog.text
    # Nothing was decrypted but, where the attack asks for one first, the sum of all.
    for _, points in server.decrypted:
        everybody = sum(server.mass(name) * own_update(name) for name in (A, B, C))
        np.testing.assert_allclose(server.mean(points, 1.0), everybody, atol=CLOSE)
    if attack is not the_model_without_everybodys_word:  # after a release nothing is trained
        if not server.hello(A).fingerprint or len(server.confirmations) < 3:
            server.keys()
        server.commit = None
        assert server.round(3).round == 3


CONTROLS = [one for one in ATTACKS if one[3]]


@pytest.mark.parametrize(("attack", "code", "words", "left_out"), CONTROLS, ids=[one[0].__name__ for one in CONTROLS])
def test_without_that_check_it_reads_the_update(
    server: Hostile,
    monkeypatch: pytest.MonkeyPatch,
    attack: Attack,
    code: ReplyCode,
    words: str,
    left_out: Mapping[ModuleType, list[str]],
) -> None:
    for module, refusals in left_out.items():
        for refusal in refusals:
            leave_out(module, refusal, monkeypatch)

    np.testing.assert_allclose(attack(server), SECRET, atol=CLOSE)


def leave_out(module: ModuleType, refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a mutant's functions and methods in the place of the real ones, wherever the gates have imported them."""
    mutant = without(module, refusal)
    if module is roster:
        monkeypatch.setattr(roster.Roster, "verify", mutant.Roster.verify)
        monkeypatch.setattr(roster.Roster, "verify_each", mutant.Roster.verify_each)
        return
    if module is ballots:
        for name, real in BALLOT.items():
            changed = getattr(mutant.Ballot, name)
            if changed.__code__.co_code != real.__code__.co_code:
                monkeypatch.setattr(ballots.Ballot, name, changed)
        return
    if module is wrapping:
        monkeypatch.setattr("hanse.runtime.gate.encrypted_keys.unwrap", mutant.unwrap)
        return
    for part in ("keys", "model", "round", "release"):
        gates = importlib.import_module(f"hanse.runtime.gate.encrypted_{part}")
        for name in vars(gates).keys() & {one for one in vars(mutant) if one.startswith("check_")}:
            monkeypatch.setattr(gates, name, getattr(mutant, name))
