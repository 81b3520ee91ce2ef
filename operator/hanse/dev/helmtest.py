"""What `helm test` runs, in the operator's image: a job of two participants on made-up data, from nothing to Complete.

Reads its settings from the environment (helm/hanse/templates/tests/job.yaml sets them), talks to the API server with
nothing but the standard library, and removes what it made, whatever the outcome.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanse.api import names
from hanse.api.conditions import JobCondition
from hanse.api.podsecurity import container_security, pod_security

Json = dict[str, Any]

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Collections of the API server by kind.
COLLECTIONS: Final = {
    "FederatedJob": f"apis/{names.API_VERSION}/namespaces/{{}}/federatedjobs",
    "Participant": f"apis/{names.API_VERSION}/namespaces/{{}}/participants",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
}


class ReleaseProblem(Exception):
    """The release does not do what it should; the message says what to look at."""


@dataclass(frozen=True)
class Settings:
    """What the chart says."""

    coordinator: str
    owners: tuple[str, str]
    app_image: str
    seed_image: str
    storage_class: str
    timeout: float
    name: str = "helm-test"

    @classmethod
    def from_environment(cls) -> "Settings":
        """Raises KeyError when a variable is missing."""
        first, _, second = os.environ["TEST_OWNERS"].partition(",")
        return cls(
            coordinator=os.environ["TEST_COORDINATOR"],
            owners=(first, second or first),
            app_image=os.environ["TEST_APP_IMAGE"],
            seed_image=os.environ["TEST_SEED_IMAGE"],
            storage_class=os.environ.get("TEST_STORAGE_CLASS", ""),
            timeout=float(os.environ.get("TEST_TIMEOUT_SECONDS", "300")),
        )


class Api:
    """The API server, as the pod's service account."""

    def __init__(self) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self._base = f"https://[{host}]:{port}/" if ":" in host else f"https://{host}:{port}/"
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        # Python 3.13 asks for extensions that the certificates of many clusters do not have; the CA is checked as ever.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def call(self, method: str, path: str, body: Json | None = None) -> Json | None:
        """The answer; None when there is no such object."""
        request = urllib.request.Request(  # noqa: S310 - always https
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as answer:  # noqa: S310
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code == 404 and method != "POST":
                return None
            raise ReleaseProblem(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    def path(self, manifest: Json) -> str:
        """Path of one object."""
        metadata = manifest["metadata"]
        return f"{COLLECTIONS[manifest['kind']].format(metadata['namespace'])}/{metadata['name']}"

    def create(self, manifest: Json) -> None:
        """Create an object."""
        self.call("POST", COLLECTIONS[manifest["kind"]].format(manifest["metadata"]["namespace"]), manifest)

    def get(self, manifest: Json) -> Json | None:
        """The object as it is now."""
        return self.call("GET", self.path(manifest))

    def delete(self, manifest: Json) -> None:
        """Delete an object and what it owns; one that is gone is fine."""
        self.call("DELETE", self.path(manifest), {"propagationPolicy": "Background"})


def build_objects(settings: Settings) -> list[Json]:
    """All objects of the test, in the order in which they are created."""
    owners = [(f"{settings.name}-{letter}", namespace) for letter, namespace in zip("ab", settings.owners, strict=True)]
    objects = [build(name, namespace, settings) for name, namespace in owners for build in (_claim, _seed)]
    objects += [_participant(name, namespace, settings) for name, namespace in owners]
    members = [
        {"name": name, "participantRef": {"namespace": namespace, "name": name}, "dataset": "numbers"}
        for name, namespace in owners
    ]
    spec = {
        "app": {"image": settings.app_image, "clientApp": "hanse.runtime.apps.counting:app"},
        "participants": members,
        "rounds": 2,
        "startTimeoutSeconds": int(settings.timeout),
    }
    return [*objects, _object("FederatedJob", names.API_VERSION, settings.name, settings.coordinator, spec)]


def _object(kind: str, version: str, name: str, namespace: str, spec: Json) -> Json:
    labels = {"app.kubernetes.io/part-of": "hanse", "app.kubernetes.io/component": "helm-test"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _claim(name: str, namespace: str, settings: Settings) -> Json:
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    if settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    return _object("PersistentVolumeClaim", "v1", name, namespace, spec)


def _seed(name: str, namespace: str, settings: Settings) -> Json:
    container = {
        "name": "seed",
        "image": settings.seed_image,
        "command": ["python3", "-c", "open('/data/numbers.csv', 'w').write('number\\n1\\n')"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": container_security(),
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
    }
    return _object("Job", "batch/v1", f"{name}-seed", namespace, {"backoffLimit": 2, "template": {"spec": pod}})


def _participant(name: str, namespace: str, settings: Settings) -> Json:
    dataset = {
        "name": "numbers",
        "source": {"persistentVolumeClaim": {"claimName": name}, "path": "numbers.csv"},
    }
    spec = {
        "organisation": f"Helm test {name}",
        "datasets": [dataset],
        "policy": {"namespaces": [settings.coordinator]},
    }
    return _object("Participant", names.API_VERSION, name, namespace, spec)


def wait_for(what: str, deadline: float, probe: Callable[[], bool]) -> None:
    """Call `probe` each second until it is true.

    Raises:
        ReleaseProblem: at the deadline.
    """
    while not probe():
        if time.monotonic() > deadline:
            raise ReleaseProblem(f"{what} took too long")
        time.sleep(1)


def create(api: Api, objects: list[Json]) -> None:
    """Create all objects and say so."""
    for manifest in objects:
        api.create(manifest)
        metadata = manifest["metadata"]
        print(f"created {manifest['kind']} {metadata['namespace']}/{metadata['name']}", flush=True)


def _succeeded(job: Json | None) -> bool:
    return bool(job and job.get("status", {}).get("succeeded"))


def remove(api: Api, objects: list[Json], deadline: float) -> None:
    """Delete all objects, the job first, and wait until they are gone."""
    for manifest in reversed(objects):
        api.delete(manifest)
    wait_for("removing the test's objects", deadline, lambda: not any(map(api.get, objects)))


def outcome(job: Json) -> tuple[bool | None, str]:
    """Whether the job is complete (None: not ended yet), and a line about it."""
    status = job.get("status", {})
    summary = status.get("summary", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    line = f"{summary.get('state', 'Pending')} round {summary.get('round', '-')} of {summary.get('participants', '-')}"
    for kind, complete in ((JobCondition.COMPLETE, True), (JobCondition.FAILED, False), (JobCondition.ACCEPTED, None)):
        found = conditions.get(kind, {})
        if found.get("status") == ("False" if complete is None else "True"):
            return complete, f"{line}: {found.get('reason')}: {found.get('message')}"
    return None, line


def run(api: Api, settings: Settings) -> None:
    """The test.

    Raises:
        ReleaseProblem: with the job's own reason.
    """
    deadline = time.monotonic() + settings.timeout
    objects = build_objects(settings)
    remove(api, objects, deadline)
    seen: list[str] = []

    def ended() -> bool:
        complete, line = outcome(api.get(objects[-1]) or {})
        if line not in seen[-1:]:
            seen.append(line)
            print(line, flush=True)
        if complete is False:
            raise ReleaseProblem(line)
        return complete is True

    data = [manifest for manifest in objects if manifest["kind"] in ("PersistentVolumeClaim", "Job")]
    seeds = [manifest for manifest in data if manifest["kind"] == "Job"]
    try:
        create(api, data)
        wait_for("writing the made-up data", deadline, lambda: all(_succeeded(api.get(seed)) for seed in seeds))
        create(api, objects[len(data) :])
        wait_for("the job", deadline, ended)
    finally:
        remove(api, objects, time.monotonic() + 60)


def main() -> int:
    """Exit status of the pod."""
    try:
        run(Api(), Settings.from_environment())
    except ReleaseProblem as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print("the release works: two participants trained for two rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
