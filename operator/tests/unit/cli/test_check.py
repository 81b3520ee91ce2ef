"""`hanse check`: what is fine, what is worth knowing, what would be refused."""

import io
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from hanse.cli.check import check_files
from hanse.cli.errors import ManifestError
from tests.unit.cli.samples import job, participant, write

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def checked(*paths: Path) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    check_files(paths, console)
    return cast(io.StringIO, console.file).getvalue().splitlines()


@pytest.mark.parametrize("name", ["credit", "images", "bring-your-own-app"])
def test_the_examples_are_fine(name: str) -> None:
    assert all(line.startswith("ok    ") for line in checked(EXAMPLES / name))


def test_a_participant_elsewhere_and_a_tag_are_notes(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.yaml", job(app={"image": "mine:latest"}), participant("a")))
    assert [line.split()[0] for line in found] == ["ok", "ok", "note", "note"]
    assert "bank-b/bank-b" in found[2]
    assert "digest" in found[3]


def test_what_the_operator_would_refuse_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", job(), participant("a"), participant("b", policy={}))
    with pytest.raises(ManifestError) as error:
        checked(path)
    (problem,) = error.value.problems
    assert "NamespaceNotAllowed" in problem.message
    assert "spec.policy.namespaces" in problem.next_step


def test_nothing_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
    assert checked(path) == ["nothing of kind FederatedJob or Participant in these files"]
