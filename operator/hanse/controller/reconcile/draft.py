"""A FederatedJob's status under construction. Policies write into it, `finish` turns it into a plan."""

from datetime import datetime
from typing import Any

from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import FederatedJobStatus
from hanse.controller.reconcile import notes, summary
from hanse.controller.reconcile.conditions import ConditionSet
from hanse.controller.reconcile.model import Action, ObservedJob, Plan


class Draft:
    """Collects conditions, status fields, actions and the time to look again."""

    def __init__(self, observed: ObservedJob, now: datetime) -> None:
        self.observed = observed
        self.now = now
        self.conditions = ConditionSet(observed.status.conditions, JobCondition, observed.meta.generation, now)
        self.values: dict[str, Any] = {}
        self.actions: list[Action] = []
        self.lost: frozenset[str] = frozenset()
        self._after: float | None = None

    def wake(self, seconds: float) -> None:
        """Look again in so many seconds at the latest."""
        self._after = seconds if self._after is None else min(self._after, seconds)

    def complete(self, reason: str, message: str) -> None:
        """The job has its model."""
        self.conditions.set(JobCondition.COMPLETE, "True", reason, message)
        self.conditions.set(JobCondition.FAILED, "False", Reason.NOT_FAILED, "the job is complete")
        self.values["completion_time"] = self.now

    def fail(self, reason: str, message: str) -> None:
        """The job has failed for good."""
        self.conditions.set(JobCondition.FAILED, "True", reason, message)
        self.conditions.set(JobCondition.COMPLETE, "False", Reason.NOT_COMPLETED, "the job has failed")
        self.values["completion_time"] = self.now

    @property
    def finished(self) -> bool:
        """Whether the job is over, now or before."""
        return self.conditions.is_true(JobCondition.COMPLETE) or self.conditions.is_true(JobCondition.FAILED)

    def finish(self) -> Plan:
        """The plan."""
        old = self.observed.status
        generation = self.observed.meta.generation
        update = {**self.values, "conditions": self.conditions.all(), "observed_generation": generation}
        status: FederatedJobStatus = old.model_copy(update=update)
        status = status.model_copy(update={"summary": summary.build(self.observed.spec, status)})
        return Plan(status, tuple(self.actions), notes.of_job(old, status), self._after, self.lost)
