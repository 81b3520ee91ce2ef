"""The operator as its own process on a real kube-apiserver.

There is no Job controller and no kubelet: tests make pods and set their status.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.apiserver import ApiServer
from e2e.cluster.kubeapi import KubeApi
from hanse.api import names
from hanse.api.rbac import DEFAULT_SERVICE_ACCOUNT, RBAC_GROUP, Where, policy_rules
from hanse.controller.kinds import BY_NAME
from tests.unit.controller import world

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[4]
_numbers = count(1)
PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


class Site:
    """Namespaces of one test, an operator for them, and short cuts."""

    def __init__(self, kube: KubeApi, kubeconfig: Path, directory: Path, watch: tuple[str, ...] = ()) -> None:
        number = next(_numbers)
        self.kube = kube
        self.system, self.consortium = f"system-{number}", f"consortium-{number}"
        self.banks = (f"bank-a-{number}", f"bank-b-{number}", f"bank-c-{number}")
        self.health_port, self.metrics_port, self.progress_port = free_port(), free_port(), free_port()
        self._kubeconfig = kubeconfig
        self._log = directory / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None
        for name in (self.system, self.consortium, *self.banks):
            kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            kube.create(f"/api/v1/namespaces/{name}/serviceaccounts", account)

    # --- the operator's process ---

    def start(self, *, watch: str | None = None, kubeconfig: Path | None = None) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self._kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "OPERATOR_NAMESPACE": self.system,
            "WATCH_NAMESPACES": watch if watch is not None else ",".join((self.consortium, *self.banks)),
            "SERVER_IMAGE": f"hanse/server@{world.DIGEST}",
            "GATE_IMAGE": f"hanse/gate@{world.DIGEST}",
            "BIND_ADDRESS": "127.0.0.1",
            "LIVENESS_PORT": str(self.health_port),
            "METRICS_PORT": str(self.metrics_port),
            "PROGRESS_PORT": str(self.progress_port),
            "RESYNC_SECONDS": "5",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "hanse.controller"], env=environment, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def account(self, directory: Path, grants: Mapping[str, tuple[Where, ...]]) -> Path:
        """A kubeconfig of the operator's own ServiceAccount with the table's Roles in these namespaces."""
        accounts = f"/api/v1/namespaces/{self.system}/serviceaccounts"
        self.kube.create(
            accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT_SERVICE_ACCOUNT}}
        )
        for namespace, where in grants.items():
            self.grant(namespace, policy_rules(*where))
        self.grant("", policy_rules(Where.CLUSTER))
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.kube.create(f"{accounts}/{DEFAULT_SERVICE_ACCOUNT}/token", review)["status"]["token"]
        config = json.loads(self._kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        file = directory / "operator.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    def grant(self, namespace: str, rules: list[Json]) -> None:
        """A Role (or, without a namespace, a ClusterRole) for the operator."""
        scope = "" if namespace else "Cluster"
        base = f"/apis/{RBAC_GROUP}/v1" + (f"/namespaces/{namespace}" if namespace else "")
        name = f"operator-of-{self.system}"
        meta = {"apiVersion": f"{RBAC_GROUP}/v1", "metadata": {"name": name}}
        self.kube.create(f"{base}/{scope.lower()}roles", {**meta, "kind": f"{scope}Role", "rules": rules})
        subject = {"kind": "ServiceAccount", "name": DEFAULT_SERVICE_ACCOUNT, "namespace": self.system}
        reference = {"apiGroup": RBAC_GROUP, "kind": f"{scope}Role", "name": name}
        binding = {**meta, "kind": f"{scope}RoleBinding", "roleRef": reference, "subjects": [subject]}
        self.kube.create(f"{base}/{scope.lower()}rolebindings", binding)

    @property
    def log(self) -> str:
        return self._log.read_text()

    # --- objects ---

    @staticmethod
    def path(kind: str, namespace: str, name: str = "") -> str:
        found = BY_NAME[kind]
        base = f"/apis/{found.api_version}" if found.group else "/api/v1"
        return f"{base}/namespaces/{namespace}/{found.plural}" + (f"/{name}" if name else "")

    def put(self, manifest: Json) -> Json:
        return self.kube.create(self.path(manifest["kind"], manifest["metadata"]["namespace"]), manifest)

    def find(self, kind: str, namespace: str, name: str) -> Json | None:
        return self.kube.find(self.path(kind, namespace, name))

    def listed(self, kind: str, namespace: str) -> list[Json]:
        items: list[Json] = self.kube.get(self.path(kind, namespace))["items"]
        return items

    def status_of(self, kind: str, namespace: str, name: str, status: Json) -> None:
        self.kube.merge(f"{self.path(kind, namespace, name)}/status", {"status": status})

    def members(self, *banks: str) -> None:
        for name in banks or self.banks[:2]:
            made = world.participant(name, namespaces=(self.consortium,))
            claim = world.claim(name)
            claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
            self.put(made)
            self.put(claim)

    def submit(self, name: str = "credit", *, banks: tuple[str, ...] = (), **spec: Any) -> Json:
        job = world.federated_job(name, members=banks or self.banks[:2], **spec)
        job["metadata"]["namespace"] = self.consortium
        return self.put(job)

    def edit(self, name: str = "credit", **spec: Any) -> None:
        self.kube.merge(self.path("FederatedJob", self.consortium, name), {"spec": spec})

    def job(self, name: str = "credit") -> Json:
        return self.kube.get(self.path("FederatedJob", self.consortium, name))

    def condition(self, kind: str, name: str = "credit") -> tuple[str, str]:
        conditions = (self.job(name).get("status") or {}).get("conditions") or []
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    def server_job(self, name: str = "credit") -> Json | None:
        return self.find("Job", self.consortium, names.server_name(name))

    def participation(self, bank: str) -> Json | None:
        return next(iter(self.listed("Participation", bank)), None)

    def client_job(self, bank: str) -> Json | None:
        return next(iter(self.listed("Job", bank)), None)

    def pod_of(self, job: Json | None, status: Json, **more: Any) -> Json:
        """A pod as the Job controller makes it, with a status as the kubelet writes it."""
        assert job is not None
        made = world.pod(job, **more)
        del made["status"]
        del made["metadata"]["creationTimestamp"]
        made["spec"] = job["spec"]["template"]["spec"]
        created = self.put(made)
        self.status_of("Pod", created["metadata"]["namespace"], created["metadata"]["name"], status)
        return created

    def run_clients(self) -> list[Json]:
        """Both clients' pods run; their Jobs."""
        jobs: list[Json] = []
        for bank in self.banks[:2]:
            jobs.append(self.until("client Job", partial(self.client_job, bank)))
            self.pod_of(jobs[-1], world.running())
        return jobs

    def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait for a state; a generous limit, no assertion about time."""
        end = time.monotonic() + PATIENCE
        while True:
            found = holds()
            if found:
                return found
            if time.monotonic() > end:
                shown = json.dumps(
                    [self.job(j["metadata"]["name"]) for j in self.listed("FederatedJob", self.consortium)]
                )
                raise AssertionError(f"{what}: not in {PATIENCE:.0f} s\n{shown[:4000]}\n{self.log[-4000:]}")
            time.sleep(0.1)

    def started(self, name: str = "credit") -> Json:
        found: Json = self.until("the server Job is there", lambda: self.server_job(name))
        return found


@pytest.fixture
def site(apiserver: ApiServer, kube: KubeApi, tmp_path: Path) -> Iterator[Site]:
    made = Site(kube, apiserver.kubeconfig, tmp_path)
    try:
        yield made
    finally:
        made.kill()
