"""The certificates of a `hanse run`, checked by the command as an owner does."""

import json
import sys
from pathlib import Path

import pytest

from tests.contract.privacy.workspace import Workspace

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def test_each_owner_has_a_certificate_that_the_command_checks(workspace: Workspace) -> None:
    done = workspace.run(*workspace.manifests())
    assert done.returncode == 0, done.stdout
    told = [line.split() for line in done.stdout.splitlines() if line.startswith("certificate")]
    assert [name for _, name, _ in told] == ["bank-a", "bank-b"]
    file = told[0][2]
    key = workspace.path / "ledger/bank-a/identity.pub"
    checked = workspace.run("certificate", "verify", file, f"--public-key={key}")
    assert checked.returncode == 0, checked.stdout
    assert "released 2 releases in 2 of 2 rounds, mechanism Local" in checked.stdout
    figures = [line for line in checked.stdout.splitlines() if line.startswith("epsilon")]
    assert figures[0].startswith("epsilon  Released 3: unit Silo, adjacency Replace, delta 1e-5, adversaries Outsiders")
    assert [line.partition("accountant ")[2][:3] for line in figures] == ["RDP", "RDP", "PLD"]
    other = workspace.run("certificate", "verify", file, f"--public-key={workspace.path}/ledger/bank-b/identity.pub")
    assert other.returncode == 1
    assert "its key is not the owner's" in other.stdout
    changed = workspace.path / "changed.json"
    made = json.loads(Path(file).read_text())
    made["certificate"]["releases"].pop()
    changed.write_text(json.dumps(made))
    assert workspace.run("certificate", "verify", str(changed)).returncode == 1
    changed.write_text("{}")
    assert "is no certificate" in workspace.run("certificate", "verify", str(changed)).stdout
    owners = workspace.path / "ledger/bank-a"
    private = (owners / "identity.key").read_text()
    assert (owners / "identity.key").stat().st_mode & 0o777 == 0o600
    assert workspace.run(*workspace.manifests(rounds=1)).returncode == 0
    assert (owners / "identity.key").read_text() == private, "an owner keeps its key"
    assert len(list((owners / "certificates").glob("*.json"))) == 2
