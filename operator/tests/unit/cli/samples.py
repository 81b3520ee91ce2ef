"""Manifests and statuses that the tests of `hanse` share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from hanse.api.job import RoundRecord
from hanse.api.progress import ParticipantProgress, Progress

IMAGE = "hanse/trainer-cpu@sha256:" + "0" * 64
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def job(participants: int = 2, **spec: Any) -> dict[str, Any]:
    """A FederatedJob with banks a, b, c…, each in its own namespace."""
    letters = "abcdefgh"[:participants]
    refs = [
        {"name": f"bank-{x}", "participantRef": {"namespace": f"bank-{x}", "name": f"bank-{x}"}, "dataset": "loans"}
        for x in letters
    ]
    app = {"image": IMAGE, "clientApp": "hanse.runtime.apps.counting:app"}
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": "credit", "namespace": "consortium"},
        "spec": {"app": app, "participants": refs, "rounds": 3, **spec},
    }


def participant(letter: str, **spec: Any) -> dict[str, Any]:
    """The Participant of one bank; it allows the namespace `consortium`."""
    source = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "Participant",
        "metadata": {"name": f"bank-{letter}", "namespace": f"bank-{letter}"},
        "spec": {
            "organisation": f"Bank {letter.upper()}",
            "datasets": [{"name": "loans", "source": source, "schema": {"label": "default", "features": ["age"]}}],
            "policy": {"namespaces": ["consortium"]},
            **spec,
        },
    }


def write(path: Path, *objects: dict[str, Any]) -> Path:
    """A YAML file with these documents."""
    path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    return path


def round_record(number: int, **fields: Any) -> RoundRecord:
    """One finished round."""
    return RoundRecord.model_validate(
        {"number": number, "contributed": 2, "seconds": "1.25", "metrics": {"auc": "0.77123", "loss": "0.5"}} | fields
    )


def progress(**fields: Any) -> Progress:
    """Progress of a run of two."""
    given: dict[str, Any] = {
        "job_uid": "u",
        "sequence": 1,
        "phase": "Running",
        "completed": 1,
        "total": 3,
        "updated_at": NOW,
        "participants": [
            ParticipantProgress(name="bank-a", connected=True, rounds_contributed=1),
            ParticipantProgress(name="bank-b", reason="NotConnected"),
        ],
        "rounds": [round_record(1)],
    }
    return Progress(**{**given, **fields})
