"""The certificate that a real gate leaves its owner: what it says, that it is checked, that nothing can be changed."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hanse import dp
from hanse.api.budget import Account
from hanse.api.certificate import SignedCertificate
from hanse.api.privacy import EvaluationPlan, PrivacyPlan, Slot, StatisticsPlan
from hanse.cli.certificate import objections
from hanse.dp import certified
from hanse.pki import identity
from hanse.runtime.gate.answers import Decider
from hanse.runtime.gate.filter import Asked
from hanse.runtime.gate.histograms import evaluation_histograms
from hanse.runtime.ledger import LedgerUnavailable
from tests.unit.runtime.gate.private_pod import PLAIN, RECORD, SILO, Pod, answer, metrics, record, train
from tests.unit.runtime.gate.sample_job import HASH

JSON = dict[str, Any]
IMAGES = {"gate_image": "registry.example/gate@sha256:" + "1" * 64, "trainer_image": "registry.example/app:1"}
COUNTED = RECORD.model_copy(
    update={
        "statistics": StatisticsPlan(noise_multiplier="20", bins=4),
        "evaluation": EvaluationPlan(noise_multiplier="20", bins=4, every_rounds=3),
    }
)


def worked(root: Path, plan: PrivacyPlan, **changes: Any) -> Pod:
    """A pod whose gate has answered round 1 (and the statistics) and closed."""
    pod = Pod(root, plan, model=PLAIN, **(IMAGES | changes))
    gate = pod.gate()
    if plan.statistics is not None:
        counts = record({"features": np.full((2, 4), 25, np.int64)})
        answer(gate, Asked("query.statistics", {}), {"histograms": counts})
    reply = {"arrays": record(PLAIN), "metrics": metrics(**{"num-examples": 42})}
    answer(gate, train(1, PLAIN), reply)
    gate.close()
    gate.leave()
    return pod


def certificates(pod: Pod) -> list[SignedCertificate]:
    found = sorted((pod.paths.ledger / "certificates").glob("*.json"))
    return [SignedCertificate.model_validate_json(file.read_text()) for file in found]


def key(pod: Pod) -> str:
    return identity.identity_public_key(pod.paths.identity_key.read_text())


@pytest.mark.parametrize("plan", [SILO, RECORD, COUNTED])
def test_an_ended_job_leaves_a_certificate_that_can_be_checked(tmp_path: Path, plan: PrivacyPlan) -> None:
    pod = worked(tmp_path, plan)
    (signed,) = certificates(pod)
    made = signed.certificate
    assert list(objections(signed, key(pod))) == []
    assert made.final
    assert made.plan == plan
    assert made.plan_hash == HASH
    assert [each.slot for each in made.releases] == pod.paid()
    assert (made.rounds, made.attempts) == (1, len(pod.paid()))
    assert made.model_digest is not None
    assert (made.gate_image, made.trainer_image) == (IMAGES["gate_image"], IMAGES["trainer_image"])
    spent = dp.epsilon(dp.spent_rdp(plan, map(Slot.parse, pod.paid())), 1e-5)
    told = {each.claim: each for each in made.epsilons}
    assert float(told["Released"].epsilon) == pytest.approx(spent)
    assert float(told["Released"].epsilon) >= spent
    assert float(told["Reserved"].epsilon) == pytest.approx(dp.epsilon(dp.plan_rdp(plan), 1e-5))
    assert ("Enforced" in told) == (plan.unit == "Record")
    assert all(len(each.adversaries) == 4 and each.accountant == "RDP" for each in made.epsilons)


def test_the_enforced_figure_is_about_a_whole_silo_and_large(tmp_path: Path) -> None:
    (signed,) = certificates(worked(tmp_path, COUNTED))
    told = {each.claim: each for each in signed.certificate.epsilons}["Enforced"]
    assert (told.unit, told.adjacency) == ("Silo", "Replace")
    assert float(told.epsilon) > 2 * float(signed.certificate.epsilons[0].epsilon)


@pytest.mark.parametrize("unit", ["Record", "Silo"])
def test_no_two_counts_are_further_apart_than_the_enforced_bound(unit: Any) -> None:
    form = evaluation_histograms(4, unit, 30)
    none = np.zeros(form.cells)
    # Record: each cell may be 30; Silo: the gate projects to 30 sqrt(2) and two of them may be opposite.
    most = np.linalg.norm(none + 30) if unit == "Record" else 2 * 30 * np.sqrt(2)
    assert form.enforced_multiplier(5.0) == pytest.approx(5.0 * form.sensitivity / most)


def test_pld_is_the_tighter_figure(tmp_path: Path) -> None:
    made = certificates(worked(tmp_path, SILO))[0].certificate
    assert 0 < certified.pld(made) < float(made.epsilons[0].epsilon)


def test_a_gate_that_is_stopped_leaves_one_that_is_not_final(tmp_path: Path) -> None:
    pod = Pod(tmp_path, model=PLAIN)
    first = pod.gate()
    answer(first, train(1, PLAIN), {"arrays": record(PLAIN), "metrics": metrics(**{"num-examples": 42})})
    first.leave()
    second = pod.gate()
    answer(second, train(2, PLAIN), {"arrays": record(PLAIN), "metrics": metrics(**{"num-examples": 42})})
    second.close()
    old, new = certificates(pod)
    assert (old.certificate.epoch, old.certificate.final, old.certificate.attempts) == (1, False, 1)
    assert (new.certificate.epoch, new.certificate.final, new.certificate.attempts) == (2, True, 2)


def test_a_gate_that_has_opened_nothing_leaves_none(tmp_path: Path) -> None:
    pod = Pod(tmp_path, model=PLAIN)
    pod.gate().leave()
    assert certificates(pod) == []


def test_without_its_certificate_the_account_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise LedgerUnavailable("no answer")

    pod = Pod(tmp_path, model=PLAIN)
    gate = pod.gate()
    with monkeypatch.context() as away:
        away.setattr("hanse.runtime.ledger.file.FileLease.certify", lost)
        Decider(gate).close()
    account = pod.known()
    assert isinstance(account, Account)
    assert account.closed is not None
    gate.leave()  # once more, when it ends
    (late,) = certificates(pod)
    assert late.certificate.final


# -- tampering


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        yield path
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def changed(wire: JSON, path: tuple[Any, ...], change: Any) -> JSON:
    made = copy.deepcopy(wire)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = change(place[path[-1]])
    return made


def bad(wire: JSON, owner: str | None) -> bool:
    try:
        return bool(list(objections(SignedCertificate.model_validate(wire), owner)))
    except ValidationError:
        return True


def other(value: Any, salt: int) -> Any:
    """Another value of the same kind, as far as it is the schema's."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 + salt
    if isinstance(value, list):
        return value[:-1] if value else [*value, value]
    for old, new in (("1", "2"), ("2", "3"), ("a", "b"), ("A", "B"), ("e", "f")):
        if old in value:
            spots = [index for index, letter in enumerate(value) if letter == old]
            spot = spots[salt % len(spots)]
            return value[:spot] + new + value[spot + 1 :]
    return value + "x"


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> JSON:
    (signed,) = certificates(worked(tmp_path_factory.mktemp("pod"), COUNTED))
    made: JSON = json.loads(signed.to_text())
    assert not bad(made, None)
    return made


def test_every_field_counts(wire: JSON) -> None:
    paths = list(leaves(wire))
    assert len(paths) > 60
    assert [path for path in paths if not bad(changed(wire, path, lambda v: other(v, 0)), None)] == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_tampering_is_caught(wire: JSON, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(leaves(wire))))
    salt = data.draw(st.integers(0, 80))
    assert bad(changed(wire, path, lambda v: other(v, salt)), wire["publicKey"])


def test_another_spelling_of_the_signature_is_caught(wire: JSON) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    signature = wire["signature"]
    spelt = signature[:-3] + letters[letters.index(signature[-3]) ^ 1] + "=="
    assert bad(wire | {"signature": spelt}, None)


def test_what_somebody_else_signed_is_not_the_owners(wire: JSON) -> None:
    """A certificate that is whole in itself: made to say less, signed again with another key."""
    forger = identity.new_identity()
    made = SignedCertificate.model_validate(wire).certificate
    said = made.model_copy(update={"participant": "bank-b", "population": "others"})
    forged = SignedCertificate(
        certificate=said, public_key=forger.public, signature=identity.sign(forger.private, said.digest.encode())
    )
    assert list(objections(forged, wire["publicKey"]))[:2] == [
        "its key is not the owner's",
        "the signature is not the key's over this certificate",
    ]
    # Figures follow from plan and releases: a lower one is caught also when the owner's own gate signs it.
    lower = [made.epsilons[0].model_copy(update={"epsilon": "0.1"}), *made.epsilons[1:]]
    said = made.model_copy(update={"epsilons": lower})
    signed = SignedCertificate(
        certificate=said, public_key=forger.public, signature=identity.sign(forger.private, said.digest.encode())
    )
    (only,) = objections(signed, None)
    assert "epsilon Released" in only
