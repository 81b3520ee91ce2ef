"""`hanse run` with its real programs: SuperLink, launcher, aggregator, gates and trainers on loopback."""

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from hanse.api.exitcodes import ExitCode
from hanse.cli.modelfile import read_header
from tests.contract.cli.running import left_behind, run_directory, start, until
from tests.unit.cli.samples import IMAGE, job, participant, write

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def manifests(path: Path, **spec: Any) -> list[str]:
    """Arguments of a run of two participants with the counting app."""
    write(path / "job.yaml", job(**spec), participant("a"), participant("b"))
    for letter in "ab":
        (path / f"{letter}.csv").write_text("id,default,age\n1,0,30\n")
    data = [f"--data=bank-{letter}/loans={path}/{letter}.csv" for letter in "ab"]
    return ["run", str(path / "job.yaml"), *data, "--output", str(path / "out")]


def test_a_job_is_trained_kept_and_gone_on_with(workspace: Path) -> None:
    arguments = manifests(workspace)
    first = start(*arguments, "--rounds=1", "--keep")
    text, _ = first.communicate()
    assert first.returncode == 0, text
    model = workspace / "out" / "model.safetensors"
    assert f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}" in text
    assert "round 1/1  2 updates" in text
    kept = run_directory(workspace)
    for name in ("superlink", "launcher", "bank-a/gate", "bank-b/trainer"):
        assert (kept / "logs" / f"{name}.log").is_file()
    before = model.read_bytes()
    again = start(*arguments, "--rounds=2", f"--resume={kept}")
    text, _ = again.communicate()
    assert again.returncode == 0, text
    assert "round 2/2  2 updates" in text
    assert "round 1/1" not in text
    assert model.read_bytes() != before


def test_an_app_and_a_server_app_of_the_users_own(workspace: Path) -> None:
    example = ROOT.parent / "examples" / "bring-your-own-app"
    data = [f"--data=clinic-{x}/tumours={example}/data/clinic-{x}.csv" for x in "ab"]
    process = start("run", str(example), *data, "--output", str(workspace / "out"))
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert read_header(workspace / "out" / "model.safetensors").arrays.keys() == {"weights", "bias"}
    assert list((workspace / "out").glob("run-*")) == []


def test_an_app_that_cannot_be_imported_is_the_reason_and_the_exit_code(workspace: Path) -> None:
    app = {"image": IMAGE, "clientApp": "no_such_app.client:app"}
    process = start(*manifests(workspace, app=app))
    text, _ = process.communicate()
    assert process.returncode == ExitCode.APP_IMPORT_FAILED, text
    assert "AppImportFailed" in text
    assert "no_such_app" in text
    assert "--app" in text
    assert str(run_directory(workspace) / "logs") in text


def test_ctrl_c_ends_everything_and_says_how_to_go_on(workspace: Path) -> None:
    slow = {"image": IMAGE, "clientApp": "hanse.runtime.apps.counting:app", "config": {"fail": "hang"}}
    process = start(*manifests(workspace, app=slow))
    until(process, "Running")
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate()
    assert process.returncode == 130, text
    assert f"--resume {run_directory(workspace)}" in text
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []


def test_killed_it_leaves_no_process(workspace: Path) -> None:
    process = start(*manifests(workspace))
    until(process, "is ready")
    process.kill()
    process.communicate()
    while left_behind(workspace):
        pass
