"""`hanse check`: what the API server and the operator would say, before anything is submitted."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hanse.api.conditions import Reason
from hanse.cli.errors import ManifestError, Problem
from hanse.cli.manifests import load


def check_files(files: Sequence[Path], console: Console) -> None:
    """Print what is there and what to know about it. Raises `ManifestError` for what would be refused."""
    manifests = load(files)
    refused: list[Problem] = []
    notes: list[str] = []
    for job in manifests.jobs:
        for finding, problem in manifests.refusals(job):
            if finding.reason == Reason.PARTICIPANT_NOT_FOUND:
                notes.append(f"{job.subject}: {finding.message} in these files; the operator looks in the cluster")
            else:
                refused.append(problem)
        if "@sha256:" not in job.spec.app.image:
            notes.append(f"{job.subject}: spec.app.image is not pinned by digest; the operator may refuse tags")
    if refused:
        raise ManifestError(refused)
    for subject in (*(j.subject for j in manifests.jobs), *(p.subject for p in manifests.participants)):
        console.print(f"ok    {subject}", markup=False, highlight=False, soft_wrap=True)
    for note in notes:
        console.print(f"note  {note}", markup=False, highlight=False, soft_wrap=True)
    if not manifests.jobs and not manifests.participants:
        console.print("nothing of kind FederatedJob or Participant in these files")
