"""`hanse check`: what is fine, what is worth knowing, what would be refused."""

import io
from pathlib import Path
from typing import Any, cast

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
    assert checked(path) == ["nothing of kind FederatedJob, Participant or PrivacyBudget in these files"]


SOURCE = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
SILO = {"unit": "Silo", "epsilon": "3", "delta": "1e-5", "clip": "1"}


def private_owner(letter: str, **policy: Any) -> dict[str, Any]:
    dataset = {"name": "loans", "source": SOURCE, "population": "borrowers", "records": 8000}
    return participant(letter, datasets=[dataset], policy={"namespaces": ["consortium"], **policy})


def budget(letter: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "PrivacyBudget",
        "metadata": {"name": "borrowers", "namespace": f"bank-{letter}"},
        "spec": {"unit": "Record", "epsilon": "8", "delta": "1e-5", **spec},
    }


def private(**asked: Any) -> dict[str, Any]:
    return job(privacy={"differentialPrivacy": {key: value for key, value in {**SILO, **asked}.items() if value}})


def test_who_gives_the_noise_is_told_epsilon(tmp_path: Path) -> None:
    asked = private(epsilon=None, noiseMultiplier="4")
    objects = (asked, *(private_owner(x) for x in "ab"), *(budget(x) for x in "ab"))
    found = checked(write(tmp_path / "m.yaml", *objects))
    assert [line.split()[0] for line in found] == ["ok"] * 5 + ["epsilon"]
    assert "ok    PrivacyBudget bank-b/borrowers" in found
    # Three Gaussian releases at noise 4 are one of mu = sqrt(3)/4: exactly 1.698 at 1e-5 (Dong, Roth, Su 2019), and RDP
    # is an upper bound of it that is not far.
    epsilon = float(found[-1].split(": epsilon ")[1].split()[0])
    assert 1.698 < epsilon < 1.9
    for part in ("unit Silo", "adjacency Replace", "delta 1e-5", "ServerAndOne", "accountant RDP", "3 releases"):
        assert part in found[-1]


def test_a_budget_elsewhere_is_a_note(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.yaml", private(), *(private_owner(x) for x in "ab"), budget("a")))
    assert [line.split()[0] for line in found] == ["ok"] * 4 + ["epsilon", "note"]
    assert "no PrivacyBudget bank-b/borrowers" in found[-1]


def test_terms_of_the_owners_are_errors(tmp_path: Path) -> None:
    owners = (private_owner("a", images=["audited@*"]), private_owner("b", maxEpsilonPerJob="2.5"))
    budgets = (budget("a", delta="1e-6"), budget("b"))
    with pytest.raises(ManifestError) as error:
        checked(write(tmp_path / "m.yaml", private(), *owners, *budgets))
    reasons = [problem.message.rsplit("(", 1)[1].rstrip(")") for problem in error.value.problems]
    assert reasons == ["ImageNotAllowed", "DeltaTooLarge", "EpsilonTooLarge"]
    assert [problem.field for problem in error.value.problems][2] == "spec.participants[1].participantRef"


def test_what_no_noise_can_give_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        checked(write(tmp_path / "m.yaml", private(epsilon="1e-5"), *(private_owner(x) for x in "ab")))
    assert error.value.problems[0].field == "spec.privacy.differentialPrivacy"


def encrypted(participants: int = 2, **privacy: Any) -> dict[str, Any]:
    return job(participants, privacy={"encryption": {}, **privacy}, aggregation={"weights": "Equal"})


def test_what_is_encrypted_for_whom_is_said(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "m.yaml", encrypted(), participant("a"), participant("b")))
    assert found[-1] == (
        "encrypted  FederatedJob consortium/credit: BFV, key of bank-a, held by all; sums of at least 2 of 2, each "
        "half recomputed by 1, voted for by 2; plain model: Coordinator; a sum of two is each one's update to "
        "the other: take quorum 3 or more"
    )


@pytest.mark.parametrize(("letters", "told"), [("abc", "take quorum 4 or more"), ("abcd", "plain model: Coordinator")])
def test_a_quorum_that_lets_a_participant_read_updates_is_said(tmp_path: Path, letters: str, told: str) -> None:
    asked = encrypted(len(letters), collusionThreshold=1)
    assert checked(write(tmp_path / "m.yaml", asked, *(participant(x) for x in letters)))[-1].endswith(told)


def test_distributed_noise_has_a_figure_for_each_adversary(tmp_path: Path) -> None:
    asked = encrypted(differentialPrivacy={**SILO, "mechanism": "Distributed"})
    owners = [private_owner(letter) for letter in "ab"]
    found = checked(write(tmp_path / "m.yaml", asked, *owners, budget("a"), budget("b")))
    (line,) = [each for each in found if each.startswith("epsilon  ")]
    assert "epsilon 3 against Outsiders, CollusionThreshold; " in line
    assert " against OneParticipant, ServerAndOne at most (mechanism Distributed" in line


@pytest.mark.parametrize(
    ("asked", "policy", "reason"),
    [
        (job(), {"requireEncryption": True}, "EncryptionRequired"),
        (encrypted(), {"modelRelease": "Never"}, "ModelReleaseNotAllowed"),
        (encrypted(), {"minParticipants": 3}, "TooFewParticipants"),
        (encrypted(modelRelease="Participants"), {}, "ModelsNotDeclared"),
    ],
)
def test_the_owners_terms_about_encryption(
    tmp_path: Path, asked: dict[str, Any], policy: dict[str, Any], reason: str
) -> None:
    owner = participant("b", policy={"namespaces": ["consortium"], **policy})
    models = participant("a", models={"claimName": "models"})
    with pytest.raises(ManifestError) as error:
        checked(write(tmp_path / "m.yaml", asked, models, owner))
    (problem,) = error.value.problems
    assert reason in problem.message


def test_an_owner_counts_once_among_those_who_vote(tmp_path: Path) -> None:
    asked = encrypted()
    asked["spec"]["participants"][1]["participantRef"] = {"namespace": "bank-a", "name": "branch"}
    branch = participant("a")
    branch["metadata"]["name"] = "branch"
    with pytest.raises(ManifestError) as error:
        checked(write(tmp_path / "m.yaml", asked, participant("a"), branch))
    (problem,) = error.value.problems
    assert "DuplicateParticipant" in problem.message
