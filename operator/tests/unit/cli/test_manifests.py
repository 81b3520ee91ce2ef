"""What is wrong in a manifest is said with file, line, object, field and the next step."""

from pathlib import Path
from typing import Any

import pytest

from hanse.cli.errors import ManifestError, Problem, UsageError
from hanse.cli.manifests import load
from hanse.dev.cases import Case, load_cases
from tests.unit.cli.samples import job, participant, write

CASES = load_cases(Path(__file__).parents[2] / "integration" / "api" / "cases")
OURS = [c for c in CASES if c.manifest["kind"] in ("FederatedJob", "Participant")]


def problems(path: Path) -> list[Problem]:
    with pytest.raises(ManifestError) as refusal:
        load([path])
    return list(refusal.value.problems)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The job with one field changed, for example `app.image`."""
    manifest = job()
    target = manifest["spec"]
    *parents, last = path.split(".")
    for key in parents:
        target = target.setdefault(key, {})
    target[last] = value
    return manifest


@pytest.mark.parametrize(
    ("path", "value", "field", "says", "next_step"),
    [
        ("rounds", -3, "spec.rounds", "at least 1, not -3", "rounds"),
        ("rounds", "20", "spec.rounds", "whole number, not 20", "rounds"),
        ("rounds", True, "spec.rounds", "whole number, not true", ""),
        ("rounds", 2.5, "spec.rounds", "whole number, not 2.5", ""),
        ("rounds", None, "spec.rounds", "whole number, not empty", ""),
        ("quorum", 3, "spec.quorum", "must not exceed", ""),
        ("onDropout", "Skipround", "spec.onDropout", "one of SkipRound, Wait, Fail", "Did you mean SkipRound?"),
        ("app.clientapp", "a:b", "spec.app.clientapp", "is not a field", "Did you mean clientApp?"),
        ("zebra", 1, "spec.zebra", "is not a field", "Possible here: app, participants"),
        ("app.clientApp", "no-colon", "spec.app.clientApp", "", ""),
        ("app.config", {"hidden-units": 64}, "spec.app.config.hidden-units", "must be a string", '"64"'),
        ("app.config", {"flag": False}, "spec.app.config.flag", "must be a string", '"false"'),
        ("app.config", {"Bad_Key": "1"}, "spec.app.config.Bad_Key", "lower-case", "Rename"),
        ("app", "x", "spec.app", "must be a mapping, not x", ""),
        ("participants", [], "spec.participants", "at least 1 entries, not 0", ""),
        ("participants", {}, "spec.participants", "must be a list, not a mapping", ""),
        ("suspend", "yes", "spec.suspend", "true or false", ""),
        ("stopWhen", [{"metric": "auc", "operator": ">", "value": "1"}], "spec.stopWhen[0].operator", ">=, <=", ">="),
        ("aggregation.beta1", "0.9", "spec.aggregation.beta1", "FedAdam", ""),
        ("app.image", "i" * 600, "spec.app.image", "at most 512 characters, not 600", ""),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, path: str, value: Any, field: str, says: str, next_step: str) -> None:
    file = write(tmp_path / "job.yaml", changed(path, value))
    (problem,) = problems(file)
    assert problem.field == field
    assert problem.subject == "FederatedJob consortium/credit"
    assert says in problem.message
    assert next_step in problem.next_step
    assert str(problem).startswith(f"{file}:")


def test_a_missing_field_is_described(tmp_path: Path) -> None:
    manifest = job()
    del manifest["spec"]["rounds"]
    (problem,) = problems(write(tmp_path / "job.yaml", manifest))
    assert (problem.field, problem.message) == ("spec.rounds", "is required")
    assert problem.next_step == "Add it: Number of federated rounds."


def test_the_line_is_that_of_the_field(tmp_path: Path) -> None:
    file = write(tmp_path / "two.yaml", participant("a"), changed("rounds", 0))
    (problem,) = problems(file)
    assert file.read_text().splitlines()[problem.line - 1].strip() == "rounds: 0"


def test_all_problems_of_all_objects_come_at_once(tmp_path: Path) -> None:
    owner = participant("a", organisation="")
    found = problems(write(tmp_path / "m.yaml", changed("rounds", 0), owner))
    assert [p.field for p in found] == ["spec.rounds", "spec.organisation"]


@pytest.mark.parametrize("case", [c for c in OURS if c.field is None], ids=lambda case: case.id)
def test_accepted_by_the_server_accepted_here(case: Case, tmp_path: Path) -> None:
    load([write(tmp_path / "m.yaml", case.manifest)])


@pytest.mark.parametrize("case", [c for c in OURS if c.field], ids=lambda case: case.id)
def test_refused_by_the_server_refused_here(case: Case, tmp_path: Path) -> None:
    found = problems(write(tmp_path / "m.yaml", case.manifest))
    word = str(case.field).rsplit(".", 1)[-1].split("[")[0]
    assert any(word in f"{p.field} {p.message}" for p in found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not YAML"),
        ("kind: [x]", "no kind"),
        ("just text", "no kind"),
        ("kind: FederatedJob\nspec: {rounds: 1, rounds: 2}", "appears twice"),
        ("kind: FederatedJob\napiVersion: v1\nmetadata: {name: a}\nspec: {}", "must be hanse.dev/v1alpha1"),
        ("kind: FederatedJob\napiVersion: hanse.dev/v1alpha1\nmetadata: {name: a}\n", "is required"),
        ("kind: FederatedJob\napiVersion: hanse.dev/v1alpha1\nmetadata: {name: A_}\nspec: {}", "lower-case"),
        ("kind: Participant\napiVersion: hanse.dev/v1alpha1\nmetadata: {name: a}\nrounds: 1\nspec: {}", "not a field"),
    ],
)
def test_what_is_no_object_of_ours(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    assert any(says in p.message for p in problems(file))


def test_a_list_a_directory_and_other_kinds(tmp_path: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [participant("a"), participant("b")]}
    write(tmp_path / "participants.yaml", listed, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
    write(tmp_path / "job.yaml", job())
    (tmp_path / "README.md").write_text("not read")
    found = load([tmp_path])
    assert set(found.owners()) == {("bank-a", "bank-a"), ("bank-b", "bank-b")}
    assert found.job().name == "credit"
    assert found.others == ("Namespace",)


def test_the_same_object_twice(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path / "m.yaml", job(), job()))
    assert problem.message == "appears twice"


def test_which_job(tmp_path: Path) -> None:
    second = job()
    second["metadata"]["name"] = "second"
    found = load([write(tmp_path / "m.yaml", job(), second)])
    assert found.job("second").name == "second"
    with pytest.raises(UsageError, match="2 FederatedJobs"):
        found.job()
    with pytest.raises(UsageError, match="third"):
        found.job("third")


@pytest.mark.parametrize("name", ["missing.yaml", "empty"])
def test_a_path_that_holds_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        load([tmp_path / name])
