"""A small world for the operator's unit tests: an API server in memory, a clock that tests own, and objects for it.

The door keeps what the operator relies on (uids, resource versions, conflicts, owner references); the contract test in
operator/tests/contract/controller runs the same expectations against it and against a real kube-apiserver.
"""

import copy
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hanse.api import names
from hanse.controller import errors, kinds
from hanse.controller.door import Json
from hanse.controller.kinds import Kind

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
IMAGE = f"hanse/trainer@{DIGEST}"


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time = START
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


class MemoryDoor:
    """An API server in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.denied: set[str] = set()
        #: Whether the kubelet takes its time to end pods.
        self.pods_linger = False
        self.calls: list[tuple[str, str, str, str]] = []
        self.tokens: dict[str, Json] = {}
        self._version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self._call("get", kind.kind, namespace, name)
        found = self.objects.get((kind.kind, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    async def list(self, kind: Kind, namespace: str | None) -> list[Json]:
        self._call("list", kind.kind, namespace or "", "")
        wanted = dict(part.split("=") for part in kind.selector.split(",")) if kind.selector else {}
        return [
            copy.deepcopy(o)
            for (k, n, _), o in sorted(self.objects.items())
            if k == kind.kind
            and namespace in (None, n)
            and wanted.items() <= (o["metadata"].get("labels") or {}).items()
        ]

    async def create(self, manifest: Json) -> Json | None:
        key = _key(manifest)
        self._call("create", *key)
        if key in self.objects:
            return None
        return self._store(key, copy.deepcopy(manifest), generation=1)

    async def apply(self, manifest: Json) -> Json:
        key = _key(manifest)
        self._call("apply", *key)
        known = self.objects.get(key)
        if known is None:
            return self._store(key, copy.deepcopy(manifest), generation=1)
        made = {**copy.deepcopy(known), **{k: v for k, v in copy.deepcopy(manifest).items() if k != "metadata"}}
        made["metadata"] = {**known["metadata"], **copy.deepcopy(manifest["metadata"])}
        return self._update(key, made)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json:
        key = (kind.kind, namespace, name)
        self._call("merge", *key)
        return self._update(key, _merged(self._existing(key), patch))

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._call("delete", kind.kind, namespace, name)
        self.remove(kind.kind, namespace, name)

    async def apply_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        key = (kind.kind, namespace, name)
        self._call("status", *key)
        known = self._existing(key)
        if known["metadata"]["resourceVersion"] != resource_version:
            raise errors.Conflict("the object has been modified", kind=kind.kind, namespace=namespace, name=name)
        return self._update(key, {**copy.deepcopy(known), "status": copy.deepcopy(status)})

    async def replace_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        return await self.apply_status(kind, namespace, name, resource_version, status)

    async def review_token(self, token: str, audience: str) -> Json:
        self._call("review", "TokenReview", "", "")
        return self.tokens.get(token, {"authenticated": False})

    # --- what tests do behind the operator's back ---

    def put(self, manifest: Json) -> Json:
        """Create or replace, as somebody else."""
        key = _key(manifest)
        if key in self.objects:
            return self._update(key, _merged(self.objects[key], manifest))
        return self._store(key, copy.deepcopy(manifest), generation=1)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete with what it owns."""
        gone = self.objects.pop((kind, namespace, name), None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        for (k, ns, n), child in list(self.objects.items()):
            owners = child["metadata"].get("ownerReferences") or []
            if k == "Pod" and self.pods_linger:
                continue
            if ns == namespace and any(o["uid"] == uid for o in owners):
                self.remove(k, ns, n)

    def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return self.objects.get((kind.kind, namespace, name))

    def count(self, verb: str, kind: Kind | None = None) -> int:
        return sum(1 for v, k, _, _ in self.calls if v == verb and (kind is None or k == kind.kind))

    def _call(self, verb: str, kind: str, namespace: str, name: str) -> None:
        self.calls.append((verb, kind, namespace, name))
        if namespace in self.denied:
            raise errors.Denied(f"{kind} is forbidden", kind=kind, namespace=namespace, name=name)

    def _existing(self, key: tuple[str, str, str]) -> Json:
        if key not in self.objects:
            raise errors.Gone("not found", kind=key[0], namespace=key[1], name=key[2])
        return self.objects[key]

    def _store(self, key: tuple[str, str, str], made: Json, *, generation: int) -> Json:
        self._version += 1
        made["metadata"] = {
            "creationTimestamp": START.isoformat(),
            "uid": str(uuid.UUID(int=self._version)),
            **made["metadata"],
            "resourceVersion": str(self._version),
            "generation": generation,
        }
        self.objects[key] = made
        return copy.deepcopy(made)

    def _update(self, key: tuple[str, str, str], made: Json) -> Json:
        known = self._existing(key)
        changed = made.get("spec") != known.get("spec")
        generation = known["metadata"]["generation"] + (1 if changed else 0)
        if {**made, "metadata": 0} == {**known, "metadata": 0} and made["metadata"] == known["metadata"]:
            return copy.deepcopy(known)
        return self._store(key, made, generation=generation)


def _key(manifest: Json) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _merged(known: Json, patch: Json) -> Json:
    made = copy.deepcopy(known)
    for key, value in patch.items():
        made[key] = _merged(made.get(key) or {}, value) if isinstance(value, dict) else copy.deepcopy(value)
    return made


def federated_job(name: str = "credit", *, members: tuple[str, ...] = ("bank-a", "bank-b"), **spec: Any) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "FederatedJob",
        "metadata": {"name": name, "namespace": "consortium"},
        "spec": {
            "app": {"image": IMAGE, "clientApp": "hanse.runtime.apps.counting:app"},
            "participants": [
                {"name": m, "participantRef": {"namespace": m, "name": m}, "dataset": "loans"} for m in members
            ],
            "rounds": 10,
            **spec,
        },
    }


def participant(name: str, *, namespaces: tuple[str, ...] = ("consortium",), **spec: Any) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Participant",
        "metadata": {"name": name, "namespace": name},
        "spec": {
            "organisation": name,
            "datasets": [
                {
                    "name": "loans",
                    "source": {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"},
                    "schema": {"label": "default", "features": ["a", "b"]},
                }
            ],
            "policy": {"namespaces": list(namespaces)},
            **spec,
        },
    }


def claim(namespace: str, name: str = "loans") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }


def pod(job: Json, *, name: str = "", created: datetime = START, status: Json | None = None) -> Json:
    """A pod of a batch/v1 Job, as the Job controller makes it."""
    meta = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"{meta['name']}-x1",
            "namespace": meta["namespace"],
            "labels": dict(job["spec"]["template"]["metadata"]["labels"]),
            "creationTimestamp": created.isoformat(),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
            ],
        },
        "spec": {},
        "status": status or {"phase": "Pending"},
    }


def running() -> Json:
    """Status of a pod that is ready."""
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def ended(container: str, code: int, *, reason: str = "Error", message: str = "", init: bool = False) -> Json:
    """Status of a pod one of whose containers has ended."""
    state = {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "finishedAt": START.isoformat(),
        }
    }
    field = "initContainerStatuses" if init else "containerStatuses"
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        field: [{"name": container, "state": state, "restartCount": 0, "ready": False}],
    }


def job_status(**conditions: str) -> Json:
    """Status of a batch/v1 Job: `Failed="PodFailurePolicy"`, `Complete=""`."""
    return {
        "conditions": [
            {"type": kind, "status": "True", "reason": reason, "message": ""} for kind, reason in conditions.items()
        ]
    }


KIND_BY_NAME = kinds.BY_NAME
