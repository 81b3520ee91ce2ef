"""The command as a person types it: help, exit codes, and errors as lines instead of tracebacks."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hanse.cli.main import app, main
from tests.unit.cli.samples import job, write

COMMANDS = {
    "run": "FILES",
    "check": "FILES",
    "jobs": None,
    "watch": "JOB",
    "model get": "JOB",
    "model show": "FILE",
    "model predict": "FILE",
    "certificate verify": "FILE",
    "identity create": "NAMESPACE",
    "owner-rbac": "NAMESPACE",
    "version": None,
}


@pytest.mark.parametrize(("command", "argument"), COMMANDS.items())
def test_help_explains_the_command_and_its_argument(command: str, argument: str | None) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    if argument:
        assert f"{argument} is " in done.output or f"{argument} are " in done.output


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["hanse", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code
    return (code if isinstance(code, int) else 0), capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["check", "none.yaml"], 2, "none.yaml is not there"),
        (["run", "none.yaml"], 2, "next: Check the path"),
        (["model", "show", "none"], 1, "No such file"),
        (["model", "predict", "none"], 2, "Give one of --row"),
        (["bogus"], 2, "No such command"),
        (["jobs", "--context", "none"], 1, "no cluster"),
    ],
)
def test_errors(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found, text = said(arguments, monkeypatch, capfd)
    assert found == code
    assert says in text
    assert "Traceback" not in text


def test_every_problem_is_a_line_with_its_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, text = said(["check", str(write(tmp_path / "m.yaml", job(rounds=0, quorum="x")))], monkeypatch, capfd)
    lines = text.splitlines()
    assert code == 2
    assert sum("FederatedJob consortium/credit" in line for line in lines) == 2
    assert lines[-1] == "error: 2 problems found"


def test_the_kubectl_plugin_is_the_same_command() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[4] / "pyproject.toml").read_text())
    for name in ("hanse", "kubectl-hanse"):
        module, attribute = project["project"]["scripts"][name].split(":")
        assert getattr(import_module(module), attribute) is main
