"""The operator without kopf: engine, cache and queue over a door in memory. Events reach the cache at once."""

import copy
from datetime import datetime
from typing import Any

from hanse.api import names
from hanse.api.progress import Progress
from hanse.controller import handlers, kinds
from hanse.controller.cache import Cache
from hanse.controller.engine import SWEEP, Engine
from hanse.controller.events import Recorder
from hanse.controller.execute import Executor
from hanse.controller.metrics import Metrics
from hanse.controller.observe import Observer
from hanse.controller.progress.store import ProgressStore
from hanse.controller.queue import Key, WorkQueue
from hanse.controller.reconcile.model import Defaults
from hanse.controller.sweep import Sweeper
from tests.unit.controller import world
from tests.unit.controller.world import Clock, MemoryDoor

SYSTEM = "hanse-system"
DEFAULTS = Defaults(
    operator_namespace=SYSTEM,
    server_image=f"hanse/server@{world.DIGEST}",
    gate_image=f"hanse/gate@{world.DIGEST}",
    allow_image_tags=False,
    progress_base="https://hanse-operator.hanse-system.svc:8443",
)


class Rig:
    """One operator process over one world. `restart` is a new process over the same world."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.door = MemoryDoor()
        self.restart()

    def restart(self) -> None:
        self.cache = Cache()
        self.queue = WorkQueue(self.clock)
        self.progress = ProgressStore()
        self.metrics = Metrics()
        self.observer = observer = Observer(self.cache, self.door, self.progress, DEFAULTS)
        observer.operator_ca = "CA"
        self.engine = Engine(
            cache=self.cache,
            door=self.door,
            queue=self.queue,
            clock=self.clock,
            observer=observer,
            executor=Executor(self.door, self.cache, self.clock, SYSTEM),
            recorder=Recorder(self.door, self.clock),
            metrics=self.metrics,
            progress=self.progress,
            sweep=Sweeper(self.door, self.cache, self.progress, SYSTEM).sweep,
        )
        self._seen: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.queue.add(SWEEP)

    async def settle(self, steps: int = 200) -> None:
        """Deliver events and run what is due until nothing is left to do."""
        for _ in range(steps):
            self._deliver()
            key = self.queue.take()
            if key is None:
                return
            ok = await self.engine.run(key)
            self.queue.done(key, failed=not ok)
        raise AssertionError(f"the operator does not settle; last calls: {self.door.calls[-12:]}")

    async def advance(self, seconds: float) -> None:
        """Let time pass, then settle."""
        self.clock.advance(seconds)
        await self.settle()

    def _deliver(self) -> None:
        watched = {kind.kind for kind in kinds.WATCHED}
        now = {key: o for key, o in self.door.objects.items() if key[0] in watched}
        for key, raw in now.items():
            if self._seen.get(key) != raw:
                handlers.handle({"type": "MODIFIED", "object": copy.deepcopy(raw)}, self.cache, self.queue)
        for key, raw in self._seen.items():
            if key not in now or now[key]["metadata"]["uid"] != raw["metadata"]["uid"]:
                handlers.handle({"type": "DELETED", "object": raw}, self.cache, self.queue)
        self._seen = copy.deepcopy(now)

    # --- short cuts ---

    def members(self, *members: str) -> None:
        """Participants with their claims."""
        for name in members:
            self.door.put(world.participant(name))
            self.door.put(world.claim(name))

    async def start(self, *members: str, **spec: Any) -> None:
        """A job that has started, with its participants."""
        members = members or ("bank-a", "bank-b")
        self.members(*members)
        self.door.put(world.federated_job(members=members, **spec))
        await self.settle()

    @property
    def job(self) -> dict[str, Any]:
        found = self.door.find(kinds.FEDERATED_JOB, "consortium", "credit")
        assert found is not None
        return found

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.job["status"]
        return status

    @property
    def state(self) -> str:
        return str(self.status["summary"]["state"])

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def message(self, kind: str) -> str:
        return str(next(c for c in self.status["conditions"] if c["type"] == kind)["message"])

    def server_job(self) -> dict[str, Any] | None:
        return self.door.find(kinds.JOB, "consortium", names.server_name("credit"))

    def participation(self, member: str) -> dict[str, Any] | None:
        found = [o for (k, ns, _), o in self.door.objects.items() if k == "Participation" and ns == member]
        return found[0] if found else None

    def client_job(self, member: str) -> dict[str, Any] | None:
        found = [o for (k, ns, _), o in self.door.objects.items() if k == "Job" and ns == member]
        return found[0] if found else None

    def pod_of(self, job: dict[str, Any] | None, status: dict[str, Any], **more: Any) -> dict[str, Any]:
        assert job is not None
        return self.door.put(world.pod(job, status=status, **more))

    def set_job_status(self, job: dict[str, Any] | None, status: dict[str, Any]) -> None:
        assert job is not None
        self.door.put({**copy.deepcopy(job), "status": status})

    async def push(self, **fields: Any) -> None:
        """What the server pod would push."""
        at: datetime = fields.pop("at", self.clock.now())
        base: dict[str, Any] = {"job_uid": self.job["metadata"]["uid"], "sequence": 1, "phase": "Running", "total": 10}
        self.progress.put(Progress(**{**base, "updated_at": at, **fields}))
        self.queue.add(Key("FederatedJob", "consortium", "credit"))
        await self.settle()

    def events(self, *, namespace: str = "consortium") -> list[str]:
        return [o["reason"] for (k, ns, _), o in self.door.objects.items() if k == "Event" and ns == namespace]

    def edit(self, **spec: object) -> None:
        """As the data scientist: kubectl edit."""
        meta = {"name": "credit", "namespace": "consortium"}
        self.door.put({"kind": "FederatedJob", "metadata": meta, "spec": spec})

    def certificate(self, namespace: str, name: str) -> str:
        found = self.door.find(kinds.SECRET, namespace, name)
        assert found is not None
        return str(found["data"]["tls.crt"])

    def drop_pods(self) -> None:
        """The kubelet has ended all pods."""
        self.door.pods_linger = False
        for key in [k for k in self.door.objects if k[0] == "Pod"]:
            self.door.remove(*key)
