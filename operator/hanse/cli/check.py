"""`hanse check`: what the API server and the operator would say, before anything is submitted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from hanse.api.conditions import Reason
from hanse.cli.errors import ManifestError, Problem
from hanse.cli.manifests import load
from hanse.cli.privacy import describe, encrypted, plan_of

#: What may be in the cluster though it is not in the files.
_ELSEWHERE: Final = (Reason.PARTICIPANT_NOT_FOUND, Reason.BUDGET_NOT_FOUND)


def check_files(files: Sequence[Path], console: Console) -> None:
    """Print what is there and what to know about it. Raises `ManifestError` for what would be refused."""
    manifests = load(files)
    refused: list[Problem] = []
    notes: list[str] = []
    for job in manifests.jobs:
        for finding, problem in manifests.refusals(job):
            if finding.reason in _ELSEWHERE:
                notes.append(f"{job.subject}: {finding.message} in these files; the operator looks in the cluster")
            else:
                refused.append(problem)
        if "@sha256:" not in job.spec.app.image:
            notes.append(f"{job.subject}: spec.app.image is not pinned by digest; the operator may refuse tags")
    if refused:
        raise ManifestError(refused)
    jobs, owners, budgets = manifests.jobs, manifests.participants, manifests.budgets
    for subject in (*(j.subject for j in jobs), *(o.subject for o in owners), *(b.subject for b in budgets)):
        console.print(f"ok    {subject}", markup=False, highlight=False, soft_wrap=True)
    for job in manifests.jobs:
        if (plan := plan_of(job.spec)) is not None:
            text = f"{job.subject}: {describe(plan)}"
            console.print(f"epsilon  {text}", markup=False, highlight=False, soft_wrap=True)
        if (sealed := encrypted(job.spec)) is not None:
            console.print(f"encrypted  {job.subject}: {sealed}", markup=False, highlight=False, soft_wrap=True)
    for note in notes:
        console.print(f"note  {note}", markup=False, highlight=False, soft_wrap=True)
    if not (jobs or owners or budgets):
        console.print("nothing of kind FederatedJob, Participant or PrivacyBudget in these files")
