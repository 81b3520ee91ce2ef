"""render.py swaps images and nothing else; what it cannot swap is an error."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.dp import resolve
from hanse.dp.worst import worst_epsilons

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
IMAGES = {
    "credit": "hanse/trainer-cpu",
    "credit-private": "hanse/trainer-cpu",
    "images": "hanse/trainer-cpu",
    "bring-your-own-app": "example/clinics",
}
DIGEST = "sha256:" + "5" * 64


def render(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "render.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_only_the_image_changes(name: str) -> None:
    file = EXAMPLES / name / "job.yaml"
    reference = f"registry.test:5000/{IMAGES[name]}@{DIGEST}"
    done = render(str(file), "--image", f"{IMAGES[name]}={reference}")
    assert done.returncode == 0, done.stderr
    old, new = file.read_text().splitlines(), done.stdout.splitlines()
    assert [(a, b) for a, b in zip(old, new, strict=True) if a != b] == [
        (f"    image: {IMAGES[name]}@sha256:{'0' * 64}", f"    image: {reference}")
    ]


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_the_manifests_are_valid(name: str) -> None:
    documents = [
        document
        for file in ("job.yaml", "participants.yaml")
        for document in yaml.safe_load_all((EXAMPLES / name / file).read_text())
    ]
    jobs = [FederatedJobSpec.model_validate(d["spec"]) for d in documents if d["kind"] == "FederatedJob"]
    owners = {
        d["metadata"]["name"]: ParticipantSpec.model_validate(d["spec"])
        for d in documents
        if d["kind"] == "Participant"
    }
    assert len(jobs) == 1
    for participant in jobs[0].participants:
        owner = owners[participant.participant_ref.name]
        assert owner.dataset(participant.dataset) is not None
        assert "consortium" in owner.policy.namespaces


def test_a_placeholder_that_stays_and_a_name_that_is_not_there_are_errors() -> None:
    file = str(EXAMPLES / "credit" / "job.yaml")
    left = render(file)
    assert (left.returncode, left.stdout) == (1, "")
    assert "placeholder" in left.stderr
    unknown = render(file, "--image", "hanse/trainer=x", "--image", f"hanse/trainer-cpu=hanse/trainer-cpu@{DIGEST}")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "hanse/trainer" in unknown.stderr


def test_the_private_banks_have_what_privacy_needs() -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "credit-private" / "participants.yaml").read_text()))
    budgets = {
        (d["metadata"]["namespace"], d["metadata"]["name"]): PrivacyBudgetSpec.model_validate(d["spec"])
        for d in documents
        if d["kind"] == "PrivacyBudget"
    }
    job = yaml.safe_load_all((EXAMPLES / "credit-private" / "job.yaml").read_text())
    spec = FederatedJobSpec.model_validate(next(d["spec"] for d in job if d["kind"] == "FederatedJob"))
    assert spec.privacy is not None
    asked = spec.privacy.differential_privacy
    assert asked is not None
    for document in documents:
        if document["kind"] != "Participant":
            continue
        owner = ParticipantSpec.model_validate(document["spec"])
        (dataset,) = owner.datasets
        name = document["metadata"]["name"]
        with gzip.open(EXAMPLES / "credit" / "data" / f"{name}.csv.gz", "rt") as file:
            assert sum(1 for _ in file) - 1 == dataset.records
        assert dataset.schema_ is not None
        assert set(dataset.schema_.ranges) == set(dataset.schema_.features)
        budget = budgets[document["metadata"]["namespace"], str(dataset.population)]
        plan = resolve(
            asked,
            spec.rounds,
            dataset.records,
            quorum=spec.effective_quorum,
            collusion_threshold=spec.privacy.collusion_threshold,
        )
        charged = worst_epsilons(plan)[owner.policy.adversary]
        assert float(plan.epsilon) <= charged <= float(owner.policy.max_epsilon_per_job or 0)
        assert charged * 2 <= float(budget.epsilon) < charged * 6, "a few such jobs"
        assert float(plan.delta) <= float(budget.delta)
