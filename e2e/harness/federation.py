"""A federation on a cluster, as tests use it: submit a job, wait for a condition, look at pods, leave nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from e2e.harness.kube import Kube, Object, condition, is_true, wait_until
from e2e.harness.objects import COORDINATOR, federated_job

# Kept by the cluster for a while (events), or not objects at all (metrics).
_NOT_LEFT = ("events", "metrics.k8s.io")
OPERATOR_NAMESPACE = "hanse-system"


@dataclass
class Federation:
    """The jobs of one test; `close` deletes them and checks that nothing of them is left."""

    kube: Kube
    trainer: str
    jobs: list[str] = field(default_factory=list)

    def submit(self, name: str, owners: Iterable[str], **spec: Any) -> Object:
        """Apply a FederatedJob of the counting app (or what `spec` says) and return it."""
        self.jobs.append(name)
        # A message that dies with a process holds its round for so long; the default of 600 s is no test's business.
        spec.setdefault("roundTimeoutSeconds", 30)
        job = federated_job(name, spec.pop("image", self.trainer), list(owners), **spec)
        self.kube.apply(job)
        return self.job(name)

    def job(self, name: str) -> Object:
        """The FederatedJob."""
        return self.kube.get("federatedjob", name, COORDINATOR)

    def wait(self, name: str, kind: str, status: str = "True", *, timeout: float = 180) -> Object:
        """Wait for a condition; a job that ended otherwise ends the wait at once, with its story."""

        def look() -> Object | None:
            job = self.job(name)
            if condition(job, kind).get("status") == status:
                return job
            other = {"Complete": "Failed", "Failed": "Complete"}.get(kind)
            if other and is_true(job, other):
                raise AssertionError(f"{name} is {other}, not {kind}:\n{self.story(name)}")
            return None

        try:
            return wait_until(f"{name} {kind}={status}", look, timeout=timeout)
        except Exception:
            print(self.story(name))
            raise

    def wait_round(self, name: str, number: int, *, timeout: float = 180) -> Object:
        """Wait until so many rounds are completed."""

        def look() -> Object | None:
            job = self.job(name)
            if is_true(job, "Failed"):
                raise AssertionError(f"{name} failed:\n{self.story(name)}")
            return job if completed(job) >= number else None

        return wait_until(f"{name} round {number}", look, timeout=timeout)

    def wait_reason(self, name: str, kind: str, reason: str, *, timeout: float = 120) -> Object:
        """Wait until a condition has a reason; returns the condition."""

        def look() -> Object | None:
            found = condition(self.job(name), kind)
            return found if found.get("reason") == reason else None

        try:
            return wait_until(f"{name} {kind} because of {reason}", look, timeout=timeout)
        except Exception:
            print(self.story(name))
            raise

    def uid(self, name: str) -> str:
        """uid of the FederatedJob."""
        return str(self.job(name)["metadata"]["uid"])

    def server_pod(self, name: str) -> Object:
        """The running server pod."""
        return self._pod(f"hanse.dev/job={name},hanse.dev/role=server", COORDINATOR)

    def client_pod(self, name: str, owner: str) -> Object:
        """The running client pod of one owner (namespace)."""
        return self._pod(f"hanse.dev/job={name},hanse.dev/role=client", owner)

    def _pod(self, selector: str, namespace: str) -> Object:
        def look() -> Object | None:
            pods = self.kube.list("pods", namespace, selector)
            alive = [p for p in pods if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]]
            return alive[0] if alive else None

        return wait_until(f"a running pod {selector} in {namespace}", look, timeout=90)

    def participation(self, name: str, owner: str) -> Object:
        """The job's Participation in the owner's namespace."""
        found = self.kube.list("participations", owner, f"hanse.dev/job={name}")
        return wait_until(f"Participation of {name} in {owner}", lambda: found[0] if found else None, timeout=1)

    def leftovers(self, *uids: str) -> list[str]:
        """Everything in any namespace that carries one of the jobs' uids as label or as owner."""
        found = []
        for obj in self.kube.list(self._kinds()):
            meta = obj["metadata"]
            carried = {ref["uid"] for ref in meta.get("ownerReferences", [])}
            carried.add(meta.get("labels", {}).get("hanse.dev/job-uid"))
            if carried & set(uids):
                found.append(f"{obj['kind']} {meta['namespace']}/{meta['name']}")
        return found

    def _kinds(self) -> str:
        """All namespaced kinds of the cluster, comma-separated."""
        names = self.kube.run("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
        return ",".join(name for name in names if not any(part in name for part in _NOT_LEFT))

    def delete(self, *names: str, timeout: float = 120) -> None:
        """Delete jobs and wait until nothing of them is left in any namespace."""
        uids = {}
        for name in names:
            found = self.kube.find("federatedjob", name, COORDINATOR)
            if found is not None:
                self.kube.delete("federatedjob", name, COORDINATOR, wait=False)
                uids[name] = found["metadata"]["uid"]
        if uids:
            wait_until(
                f"nothing left of {', '.join(uids)}", lambda: not self.leftovers(*uids.values()), timeout=timeout
            )

    def close(self) -> None:
        """Delete all jobs of the test."""
        self.delete(*self.jobs)

    def story(self, name: str) -> str:
        """What a person would look at: describe, pods everywhere, logs of the server."""
        parts = [
            self.kube.run("describe", "federatedjob", name, "-n", COORDINATOR, check=False),
            self.kube.run("get", "pods,jobs,participations", "-A", "-o", "wide", check=False),
            self.kube.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--tail=30", check=False),
        ]
        for pod in self.kube.list("pods", selector=f"hanse.dev/job={name}"):
            meta = pod["metadata"]
            parts.append(
                self.kube.run(
                    "logs",
                    meta["name"],
                    "-n",
                    meta["namespace"],
                    "--all-containers",
                    "--prefix",
                    "--tail=25",
                    check=False,
                )
            )
        return "\n".join(parts)


def completed(job: Object) -> int:
    """Rounds completed, 0 where the status does not say."""
    return int(job.get("status", {}).get("round", {}).get("completed", 0))


def participant_status(job: Object, name: str) -> Object:
    """One row of status.participants."""
    rows: list[Object] = job.get("status", {}).get("participants", [])
    return next((row for row in rows if row["name"] == name), {})
