"""Reserving and folding for `hanse run`: all or none, the operator's words, and what a killed run leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.privacy import DifferentialPrivacy, ReleaseKind
from hanse.dp import resolve
from hanse.runtime.ledger import Claim, Slot
from hanse.runtime.ledger.admin import Exceeded, Process, Request, SpecChanged, reserve, settle, show
from hanse.runtime.ledger.digest import dataset_digest
from hanse.runtime.ledger.file import FileLedger
from tests.contract.runtime.ledger import worlds

ROOT = Path(__file__).resolve().parents[4]
DIGEST = "sha256:" + "1" * 64
HERE = Process.of(os.getpid())
SPEC = PrivacyBudgetSpec(unit="Silo", epsilon="4.0", delta="1e-5")


def request(name: str, population: str = "borrowers", epsilon: str = "1.0", spec: PrivacyBudgetSpec = SPEC) -> Request:
    wanted = DifferentialPrivacy(unit="Silo", epsilon=epsilon, delta="1e-5", clip="1")
    made = worlds.account(resolve(wanted, 1, None))
    return Request(population, spec, name, made)


def pay(directory: Path, asked: Request) -> None:
    """One release of its gate."""
    ledger = FileLedger(directory, asked.population, now=lambda: worlds.START)
    claim = Claim(asked.name, asked.account.plan, asked.account.plan_hash, "loans")
    ledger.open(claim).charge(Slot(ReleaseKind.TRAIN, 1, 1), DIGEST)


def test_five_single_releases_of_epsilon_one_cost_2_42(tmp_path: Path) -> None:
    for number in range(5):
        asked = request(f"run-{number}")
        reserve(tmp_path, [asked], HERE)
        pay(tmp_path, asked)
        settle(tmp_path, "borrowers", asked.name)
        settle(tmp_path, "borrowers", asked.name)
    shown = show(tmp_path, "borrowers")
    assert abs(float(str(shown["spent"])) - 2.42) <= 0.01
    assert (shown["reserved"], shown["entries"]) == ("0", 5)


def test_all_participants_or_none(tmp_path: Path) -> None:
    small = PrivacyBudgetSpec(unit="Silo", epsilon="0.5", delta="1e-5")
    with pytest.raises(Exceeded, match=r"customers: asks for epsilon 1, left is 0\.5 of 0\.5"):
        reserve(tmp_path, [request("one"), request("two", "customers", spec=small)], HERE)
    assert show(tmp_path, "borrowers") == {}


def test_two_participants_of_one_population_are_weighed_together(tmp_path: Path) -> None:
    with pytest.raises(Exceeded):
        reserve(tmp_path, [request("one", epsilon="3.5"), request("two", epsilon="3.5")], HERE)
    assert show(tmp_path, "borrowers") == {}


def test_what_a_killed_run_did_not_release_is_returned_to_the_next_one(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    killed = request("killed", epsilon="3.9")
    reserve(tmp_path, [killed], Process.of(child.pid))
    with pytest.raises(Exceeded):
        reserve(tmp_path, [request("next")], HERE)
    child.kill()
    child.communicate()
    reserve(tmp_path, [request("next")], HERE)
    assert show(tmp_path, "borrowers")["spent"] == "0"


def test_a_killed_runs_releases_stay_spent(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    killed = request("killed", epsilon="2.0")
    reserve(tmp_path, [killed], Process.of(child.pid))
    pay(tmp_path, killed)
    child.kill()
    child.communicate()
    reserve(tmp_path, [request("next")], HERE)
    assert abs(float(str(show(tmp_path, "borrowers")["spent"])) - 2.0) < 0.01


def test_unit_and_delta_stay(tmp_path: Path) -> None:
    reserve(tmp_path, [request("one")], HERE)
    other = PrivacyBudgetSpec(unit="Silo", epsilon="4.0", delta="1e-6")
    with pytest.raises(SpecChanged):
        reserve(tmp_path, [request("two", spec=other)], HERE)


def test_the_command_speaks_json(tmp_path: Path) -> None:
    def run(command: str, **asked: object) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "hanse.runtime.ledger", command],
            input=json.dumps({"directory": str(tmp_path), **asked}),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    asked = request("one", epsilon="3.0")
    wire = {
        "population": asked.population,
        "spec": asked.spec.to_wire(),
        "name": asked.name,
        "account": asked.account.to_wire(),
    }
    code, answer = run("reserve", holder=os.getpid(), requests=[wire])
    assert code == 0
    assert abs(float(answer["one"]["asked"]) - 3.0) < 0.01  # type: ignore[index]
    code, answer = run("reserve", holder=os.getpid(), requests=[{**wire, "name": "two"}])
    assert code == 3
    assert "left is" in str(answer["refused"])
    assert run("settle", accounts=[{"population": "borrowers", "name": "one"}]) == (0, {})
    code, answer = run("show", populations=["borrowers"])
    assert answer["borrowers"]["spent"] == "0"  # type: ignore[index]


def test_a_datasets_digest_knows_names_and_bytes(tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "deep").mkdir(parents=True)
    (one / "a.csv").write_text("1")
    (one / "deep" / "b.csv").write_text("2")
    first = dataset_digest(one)
    assert first == dataset_digest(one)
    (one / "deep" / "b.csv").rename(one / "b.csv")
    assert dataset_digest(one) != first
    assert dataset_digest(one / "a.csv") == "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
