"""`hanse run` of encrypted jobs with its real programs: gates that hold the model, a server that adds ciphertexts."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.contract.cli.running import run_directory, start
from tests.contract.privacy.workspace import budget
from tests.unit.cli.samples import job, participant, write

LETTERS = "abc"
pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    text, _ = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, text)


def manifests(path: Path, **spec: Any) -> list[str]:
    """Arguments of a run of three participants with the counting app, whose updates are known."""
    source = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
    owners: list[dict[str, Any]] = []
    for number, letter in enumerate(LETTERS, start=1):
        dataset: dict[str, Any] = {"name": "loans", "source": source, "records": number}
        if "differentialPrivacy" in spec.get("privacy", {}):
            dataset["population"] = "borrowers"
            owners.append(budget(letter, epsilon="20"))
        owners.append(participant(letter, datasets=[dataset], models={"claimName": "models"}))
        (path / f"{letter}.csv").write_text("id,default,age\n" + "1,0,30\n" * number)
    write(
        path / "job.yaml",
        job(3, **{"rounds": 2, "quorum": 2, "privacy": {"encryption": {"range": "4"}}, **spec}),
        *owners,
    )
    data = [f"--data=bank-{letter}/loans={path}/{letter}.csv" for letter in LETTERS]
    places = ["--output", str(path / "out"), "--ledger", str(path / "ledger")]
    return ["run", str(path / "job.yaml"), *data, *places]


def test_an_encrypted_model_is_the_plain_one(workspace: Path) -> None:
    """Weights by records, as the plain job has them; what integers round off is below the codec's own step."""
    done = run(workspace, *manifests(workspace), "--keep")
    assert done.returncode == 0, done.stdout
    assert "updates are encrypted under key sha256:" in done.stdout
    assert "of bank-a, held by bank-a, bank-b, bank-c" in done.stdout
    assert "round 2/2  3 updates" in done.stdout
    encrypted = load_file(workspace / "out" / "model.safetensors")
    assert not list((run_directory(workspace) / "server/var/lib/hanse").rglob("*.safetensors"))
    shutil.rmtree(workspace / "out")
    plain = run(workspace, *manifests(workspace, privacy={}))
    assert plain.returncode == 0, plain.stdout
    expected = load_file(workspace / "out" / "model.safetensors")
    assert encrypted.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(encrypted[name], array, atol=1e-3)


def test_each_owner_gets_the_model_and_the_coordinator_none(workspace: Path) -> None:
    privacy = {"encryption": {"keyMaker": "bank-c"}, "modelRelease": "Participants"}
    done = run(workspace, *manifests(workspace, privacy=privacy, rounds=1))
    assert done.returncode == 0, done.stdout
    out = workspace / "out"
    assert sorted(p.name for p in out.iterdir()) == ["models"]
    found = [list((out / "models" / f"bank-{letter}").glob("*.safetensors")) for letter in LETTERS]
    assert [len(files) for files in found] == [1, 1, 1]
    assert len({files[0].read_bytes() for files in found}) == 1


def test_distributed_noise_is_paid_for_and_has_a_figure_for_each_adversary(workspace: Path) -> None:
    noise = {"unit": "Silo", "mechanism": "Distributed", "epsilon": "3", "delta": "1e-5", "clip": "1"}
    privacy = {"encryption": {}, "differentialPrivacy": noise}
    done = run(workspace, *manifests(workspace, privacy=privacy, quorum=3))
    assert done.returncode == 0, done.stdout
    assert "round 2/2  3 updates" in done.stdout
    for letter in LETTERS:
        (line,) = [each for each in done.stdout.splitlines() if each.startswith(f"epsilon  bank-{letter} ")]
        assert ", 3.00/3.00 against Outsiders and CollusionThreshold, " in line
        assert " against OneParticipant in 2 releases" in line
        assert line.index(" against ServerAndOne, ") < line.index(" against Outsiders")  # what is charged comes first
        assert "adversary ServerAndOne, mechanism Distributed" in line
