"""Failures name their cause in a condition: which participant, which reason, which exit code, where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.harness import install, objects
from e2e.harness.federation import Federation, completed, participant_status
from e2e.harness.kube import condition
from e2e.harness.session import OWNERS

TWO = OWNERS[:2]


def counting(**config: str) -> dict[str, object]:
    """spec.app with a config for the counting app."""
    return {"config": {key.replace("_", "-"): value for key, value in config.items()}}


def test_app_import_error_shows_the_import_s_own_words(federation: Federation, name: str) -> None:
    """The init container runs without the data: its log may reach the job."""
    federation.submit(name, TWO, app={"clientApp": "no_such_module:app"})
    job = federation.wait(name, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] == "AppImportFailed"
    assert "no_such_module" in failed["message"]


def test_missing_dataset(federation: Federation, name: str) -> None:
    """Exit code and the place to look in the job; the details in the owner's namespace."""
    federation.kube.apply(
        objects.participant("ghost", [objects.dataset("numbers", "numbers", "no-such-file.csv")], namespace=OWNERS[0])
    )
    spec = objects.federated_job(name, federation.trainer, TWO)
    spec["spec"]["participants"][0]["participantRef"] = {"namespace": OWNERS[0], "name": "ghost"}
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "DatasetNotFound"
    row = participant_status(job, OWNERS[0])
    assert row["exitCode"] == 67
    assert f"-n {OWNERS[0]}" in row["message"]
    assert "no-such-file" not in str(job["status"]), "nothing of the owner's container reaches the job"
    failure = federation.participation(name, OWNERS[0])["status"]["failure"]
    assert "no-such-file.csv" in failure["log"]


def test_wrong_label_column(federation: Federation, name: str) -> None:
    """Seen before round 1 by the built-in app's preflight."""
    schema = {"label": "no-such-column", "features": ["value"]}
    federation.kube.apply(
        objects.participant(
            "mislabelled", [objects.dataset("numbers", "numbers", "numbers.csv", schema)], namespace=OWNERS[0]
        )
    )
    spec = objects.federated_job(name, federation.trainer, TWO, app={"clientApp": "hanse.runtime.apps.tabular:app"})
    spec["spec"]["participants"][0]["participantRef"] = {"namespace": OWNERS[0], "name": "mislabelled"}
    spec["spec"]["participants"][1]["participantRef"] = {"namespace": OWNERS[0], "name": "mislabelled"}
    spec["spec"]["participants"].pop()
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "DatasetInvalid"
    failure = federation.participation(name, OWNERS[0])["status"]["failure"]
    assert failure["reason"] == "DatasetInvalid"
    assert "no-such-column" in failure["log"]


def test_image_that_cannot_be_pulled(federation: Federation, name: str) -> None:
    """Named while the job waits, and again when it gives up."""
    missing = "hanse/no-such-image@sha256:" + "0" * 64
    federation.submit(name, TWO, image=missing, startTimeoutSeconds=20)
    found = federation.wait_reason(name, "ParticipantsReady", "ImagePullFailed")
    assert "no-such-image" in found["message"]
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] in ("ImagePullFailed", "QuorumNotReached")


@pytest.mark.parametrize(
    ("limit", "config"),
    [("256Mi", {"fail": "oom", "fail-participant": "0"}), ("32Mi", {})],
    ids=["a child", "PID 1"],
)
def test_out_of_memory(federation: Federation, name: str, limit: str, config: dict[str, str]) -> None:
    """The kernel kills the forked ClientApp and PID 1 lives, or PID 1 itself while it imports its libraries."""
    federation.kube.apply(
        objects.participant(
            "small",
            [objects.dataset("numbers", "numbers", "numbers.csv")],
            namespace=OWNERS[0],
            pod_template={"resources": {"limits": {"memory": limit}}},
        )
    )
    spec = objects.federated_job(name, federation.trainer, TWO, app={"config": config})
    spec["spec"]["participants"][0]["participantRef"] = {"namespace": OWNERS[0], "name": "small"}
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Failed")
    assert condition(job, "Failed")["reason"] == "OutOfMemory"
    assert participant_status(job, OWNERS[0])["reason"] == "OutOfMemory"


def test_participants_with_different_features(federation: Federation, name: str, tmp_path: Path) -> None:
    """The federated statistics compare the feature lists; both participants are named."""
    spec = objects.federated_job(
        name, federation.trainer, TWO, dataset="pairs", app={"clientApp": "hanse.runtime.apps.tabular:app"}
    )
    for index, feature in enumerate(("value", "other")):
        data = tmp_path / f"{feature}.csv"
        data.write_text(f"id,{feature},label\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(40)))
        install.load_data(federation.kube, TWO[index], "pairs", {"pairs.csv": data}, federation.trainer)
        schema = {"id": "id", "label": "label", "features": [feature]}
        datasets = [objects.dataset("pairs", "pairs", "pairs.csv", schema)]
        federation.kube.apply(objects.participant(f"features-{index}", datasets, namespace=TWO[index]))
        spec["spec"]["participants"][index]["participantRef"]["name"] = f"features-{index}"
    federation.jobs.append(name)
    federation.kube.apply(spec)
    job = federation.wait(name, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] == "FeatureMismatch"
    assert TWO[0] in failed["message"]
    assert TWO[1] in failed["message"]


@pytest.mark.parametrize(
    ("fail", "reason"),
    [("nan-update", "NonFiniteUpdate"), ("nan-metric", "NonFiniteMetric"), ("wrong-shape", "UpdateMismatch")],
)
def test_a_bad_reply_is_refused_for_the_round_by_name(
    federation: Federation, name: str, fail: str, reason: str
) -> None:
    """With the quorum reached without it the job completes and says who is missing in which round."""
    federation.submit(name, TWO, rounds=3, quorum=1, app=counting(fail=fail, fail_participant="1", fail_round="2"))
    job = federation.wait(name, "Complete")
    assert completed(job) == 3
    second = next(r for r in job["status"]["rounds"] if r["number"] == 2)
    assert second["missing"] == [OWNERS[1]]
    assert second["reasons"] == {OWNERS[1]: reason}
    assert condition(job, "FullParticipation")["reason"] == "SubsetOnly"


def test_a_bad_reply_that_misses_the_quorum_fails_the_job(federation: Federation, name: str) -> None:
    """Quorum of all, onDropout Fail: the round's refusal is the job's."""
    federation.submit(
        name, TWO, rounds=3, onDropout="Fail", app=counting(fail="nan-update", fail_participant="1", fail_round="2")
    )
    job = federation.wait(name, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] in ("ParticipantDropped", "NonFiniteUpdate")
    assert OWNERS[1] in failed["message"]
    assert completed(job) == 1
