"""The owners' ledgers of `hanse run`: an old backup is noticed."""

import os
import shutil
from pathlib import Path

import pytest

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.privacy import DifferentialPrivacy
from hanse.cli.localprivacy import heads_of
from hanse.dp import resolve
from hanse.runtime.ledger import LedgerDamaged
from hanse.runtime.ledger.admin import Process, Request, reserve
from tests.contract.runtime.ledger.worlds import account

SPEC = PrivacyBudgetSpec(unit="Silo", epsilon="8.0", delta="1e-5")


def spend(ledger: Path, name: str) -> None:
    plan = resolve(DifferentialPrivacy(unit="Silo", epsilon="1.0", delta="1e-5", clip="1"), 1, None)
    request = Request("borrowers", SPEC, name, account(plan))
    reserve(ledger, [request], Process.of(os.getpid()), heads_of(ledger))


def test_a_restored_backup_of_a_ledger_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    spend(ledger, "one")
    shutil.copytree(ledger, tmp_path / "backup")
    spend(ledger, "two")
    shutil.rmtree(ledger)
    shutil.copytree(tmp_path / "backup", ledger)
    with pytest.raises(LedgerDamaged, match="older"):
        spend(ledger, "three")


def test_a_ledger_may_move_and_a_new_one_is_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    spend(ledger, "one")
    before = heads_of(ledger)
    ledger.rename(tmp_path / "moved")
    assert heads_of(tmp_path / "moved") == before
    ledger.mkdir()
    assert heads_of(ledger) != before
    spend(ledger, "one")
