"""`hanse run` of private jobs of both units, with its real programs and ledgers."""

import json
import sys

import pytest
from safetensors.numpy import load_file

from tests.contract.privacy.workspace import Workspace

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def test_a_private_job_is_trained_paid_for_and_says_what_it_cost(workspace: Workspace) -> None:
    done = workspace.run(*workspace.manifests(), "--keep")
    assert done.returncode == 0, done.stdout
    for bank in ("bank-a", "bank-b"):
        assert f"epsilon  {bank} 3.00/3.00 in 2 releases" in done.stdout
    for said in ("unit Silo", "adjacency Replace", "delta 1e-5", "adversary ServerAndOne", "accountant RDP"):
        assert said in done.stdout
    assert workspace.charges("a") == workspace.charges("b") == ["Train-1-1", "Train-2-1"]
    model = load_file(workspace.path / "out" / "model.safetensors")
    assert abs(model["layer.weight"]).max() > 0.1  # noise: honest training alone moves a weight by 0.02


def test_over_budget_nothing_starts_and_what_is_left_is_said(workspace: Workspace) -> None:
    first = workspace.run(*workspace.manifests(epsilon="4"))
    assert first.returncode == 0, first.stdout
    second = workspace.run(*workspace.manifests(epsilon="4"))
    assert second.returncode != 0
    assert "BudgetExceeded" in second.stdout
    assert "left is" in second.stdout
    assert len(workspace.charges("a")) == 2


def test_evaluation_of_noised_histograms_is_paid_for_and_shown(workspace: Workspace) -> None:
    evaluation = {"epsilonShare": "0.5", "everyRounds": 2, "bins": 8}
    privacy = {"evaluation": evaluation, "epsilon": "50"}
    done = workspace.run(*workspace.manifests(privacy=privacy, epsilon="100"), "--keep")
    assert done.returncode == 0, done.stdout
    assert workspace.charges("a") == ["Train-1-1", "Train-2-1", "Evaluate-2-1"]
    progress = json.loads((workspace.kept / "server/run/hanse/progress.json").read_text())
    newest, first = progress["rounds"]
    assert newest["metrics"].keys() <= {"auc", "accuracy", "f1", "loss"}  # what the noise leaves of ten records
    assert not first.get("metrics")


def test_a_record_job_steps_by_noised_sums_of_what_the_app_clipped(workspace: Workspace) -> None:
    privacy = {"unit": "Record", "sampleRate": "0.5"}
    app = {"config": {"learning-rate": "0.1"}}
    done = workspace.run(*workspace.manifests(privacy=privacy, app=app, unit="Record"), "--keep")
    assert done.returncode == 0, done.stdout
    assert "epsilon  bank-a 3.00/3.00 in 2 releases; unit Record, adjacency AddRemove" in done.stdout
    assert workspace.charges("b") == ["Train-1-1", "Train-2-1"]


def test_personal_layers_stay(workspace: Workspace) -> None:
    app = {"personalLayers": ["head.*"]}
    done = workspace.run(*workspace.manifests(app=app), "--keep")
    assert done.returncode == 0, done.stdout
    model = load_file(workspace.path / "out" / "model.safetensors")
    assert (model["head.bias"] == 0).all()


def test_a_resumed_run_pays_only_for_what_it_releases(workspace: Workspace) -> None:
    arguments = workspace.manifests(epsilon="20")
    first = workspace.run(*arguments, "--rounds=1", "--keep")
    assert first.returncode == 0, first.stdout
    again = workspace.run(*arguments, "--rounds=2", f"--resume={workspace.kept}")
    assert again.returncode == 0, again.stdout
    assert "in 1 releases" in again.stdout
    assert workspace.charges("a") == ["Train-1-1", "Train-2-1"]
