"""`hanse jobs` and `hanse watch`: FederatedJobs of a cluster, as the operator reports them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from hanse.api.job import FederatedJobStatus
from hanse.cli.errors import CliError, ClusterError, RunFailed
from hanse.cli.kube import Cluster
from hanse.cli.screen import Screen
from hanse.cli.view import View, duration, from_status

_POLL_SECONDS: Final = 1.0
_PATIENCE: Final = 60


def status_of(job: dict[str, Any]) -> FederatedJobStatus:
    """The job's status; fields of a newer operator are passed over."""
    try:
        return FederatedJobStatus.model_validate(job.get("status") or {}, extra="ignore")
    except ValidationError as error:
        raise CliError(f"the status is not one of {job.get('apiVersion')}: {error}", "Update hanse.") from error


def view_of(job: dict[str, Any]) -> View:
    """The view of one FederatedJob."""
    return from_status(job["metadata"]["name"], status_of(job), int(job["spec"]["rounds"]))


def list_jobs(cluster: Cluster, namespace: str | None, console: Console, now: datetime | None = None) -> None:
    """The same columns as `kubectl get federatedjobs -o wide`."""
    jobs = sorted(cluster.jobs(namespace), key=lambda j: (j["metadata"]["namespace"], j["metadata"]["name"]))
    if not jobs:
        console.print("no FederatedJobs" if namespace is None else f"no FederatedJobs in namespace {namespace}")
        return
    console.print(jobs_table(jobs, now or datetime.now(UTC)))


def jobs_table(jobs: list[dict[str, Any]], now: datetime) -> Table:
    """One row a job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    told = ("STATE", "ROUND", "PARTICIPANTS", "METRIC", "EPSILON", "ENCRYPTION", "REASON", "ETA")
    for name in ("NAMESPACE", "NAME", *told, "AGE"):
        table.add_column(name)
    for job in jobs:
        meta, s = job["metadata"], status_of(job).summary
        created = datetime.fromisoformat(meta["creationTimestamp"].replace("Z", "+00:00"))
        age = duration((now - created).total_seconds())
        known = (s.state, s.round, s.participants, s.metric, s.epsilon, s.encryption, s.reason, s.eta)
        table.add_row(meta["namespace"], meta["name"], *known, age)
    return table


def watch_job(
    cluster: Cluster,
    namespace: str,
    name: str,
    screen: Screen,
    wait: Callable[[float], None] = time.sleep,
) -> View:
    """Show the job until it ends. Raises `RunFailed` when it fails; an API server that is away is waited for."""
    away = 0
    while True:
        try:
            view = view_of(cluster.job(namespace, name))
            away = 0
        except ClusterError as error:
            away += 1
            # Not there from the start, or gone now, is an answer; a restart of the API server is not.
            if "does not answer" not in error.message or away > _PATIENCE:
                raise
            wait(_POLL_SECONDS)
            continue
        screen.show(view)
        if view.state == "Failed":
            raise RunFailed(view.reason, view.message, 1)
        if view.ended and view.state != "Refused":
            return view
        wait(_POLL_SECONDS)
