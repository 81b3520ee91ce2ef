"""The local back end: brings a cluster up from built binaries and takes it down from what is on disk.

Used through `registry.open_cluster`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.cluster import binaries, preflight
from e2e.cluster.backend import CreateOptions, LoadedImage, Status
from e2e.cluster.errors import ClusterError, NotReady, NotRunning
from e2e.cluster.kubeapi import KubeApi
from e2e.cluster.local import cgroups, images, namespaces, objects
from e2e.cluster.local import layout as at
from e2e.cluster.local.diagnosis import diagnose
from e2e.cluster.local.files import write_files
from e2e.cluster.local.init import answers
from e2e.cluster.local.layout import Layout
from e2e.cluster.paths import cache_dir, cluster_dir, clusters_dir, locked
from e2e.cluster.proc import run, wait_for, which

_NODE_PATH = f"/api/v1/nodes/{at.NODE_NAME}"


class LocalCluster:
    """A single-node Kubernetes as processes of this host."""

    backend = "local"

    def __init__(self, name: str, report: Callable[[str], None] = lambda _: None) -> None:
        self.name = name
        self._report = report

    def create(self, options: CreateOptions) -> None:
        """Bring the cluster up; one that is up already only gets its GPUs set."""
        preflight.check()
        with self._lock():
            if self._is_up():
                self._report(f"cluster {self.name} is up")
                self._settle(self._layout(), options)
                return
            built = binaries.ensure(report=self._report)
            self._remove(keep_logs=False)
            started = time.monotonic()
            layout = self._claim_layout()
            try:
                write_files(layout, built)
                namespaces.start(layout, cgroups.create(self.name))
                self._settle(layout, options)
            except ClusterError as error:
                raise NotReady(f"{error}\n{diagnose(layout, lines=15)}") from error
            self._report(f"cluster {self.name} is up after {time.monotonic() - started:.0f} s")

    def delete(self, *, keep_logs: bool = False) -> None:
        """End every process, then remove interfaces, cgroups and files."""
        with self._lock():
            self._remove(keep_logs=keep_logs)

    def status(self) -> Status:
        """Processes, API server and node."""
        if namespaces.find_init(self.name) is None:
            left = at.state_file(self.name).exists() or cgroups.exists(self.name)
            detail = ("its processes are gone: `up` or `down` cleans up what they left",) if left else ()
            return Status(self.name, self.backend, running=False, ready=False, detail=detail)
        layout = self._layout()
        node_ready = self._node_ready(layout)
        return Status(
            self.name,
            self.backend,
            running=True,
            ready=node_ready,
            kubeconfig=layout.kubeconfig,
            detail=(f"server {layout.server}", f"logs {layout.logs}"),
        )

    def kubeconfig(self) -> Path:
        """Its administrator's kubeconfig; the address in it is reachable from this host."""
        return self._running_layout().kubeconfig

    def load_images(self, archives: Sequence[Path]) -> list[LoadedImage]:
        """Import archives into the cluster's containerd."""
        return images.load(self._running_layout(), archives)

    def images(self) -> list[LoadedImage]:
        """What containerd has."""
        return images.list_images(self._running_layout())

    def diagnose(self, lines: int = 40) -> str:
        """Objects, events and the ends of all logs."""
        return diagnose(self._layout(), lines=lines)

    def node_exec(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the cluster's mount, network and PID namespaces; `ctr` finds its containerd."""
        return namespaces.execute(self._layout(), argv, check=check, timeout=timeout)

    def restart_apiserver(self, *, down_seconds: float = 0) -> None:
        """Kill kube-apiserver, hold it back, wait until it is ready again."""
        self.restart("kube-apiserver", down_seconds=down_seconds)
        layout = self._running_layout()
        if not KubeApi(layout.kubeconfig).wait_ready(60):
            raise NotReady(f"kube-apiserver did not come back\n{diagnose(layout, lines=15)}")

    def restart(self, daemon: str, *, down_seconds: float = 0) -> None:
        """Kill one of the node's daemons, hold it back for a while and let it start again."""
        layout = self._running_layout()
        pid_file, hold = (layout.directory / "run" / f"{daemon}.{kind}" for kind in ("pid", "hold"))
        if not pid_file.exists():
            raise ClusterError(f"no daemon {daemon}; there are {', '.join(sorted(self._daemons(layout)))}")
        old = pid_file.read_text()
        hold.touch()
        try:
            self.node_exec(["kill", "-KILL", old])
            time.sleep(down_seconds)
        finally:
            hold.unlink()
        wait_for(f"{daemon} started again", lambda: pid_file.read_text() != old, timeout=30)

    @staticmethod
    def _daemons(layout: Layout) -> list[str]:
        return [path.stem for path in (layout.directory / "run").glob("*.pid")]

    def _is_up(self) -> bool:
        if namespaces.find_init(self.name) is None or not at.state_file(self.name).exists():
            return False
        layout = self._layout()
        return layout.kubeconfig.exists() and self._node_ready(layout)

    @staticmethod
    def _node_ready(layout: Layout) -> bool:
        try:
            api = KubeApi(layout.kubeconfig, timeout=5)
            return api.ready() and is_ready(api.find(_NODE_PATH))
        except (OSError, ValueError, ClusterError):
            return False

    def _running_layout(self) -> Layout:
        layout = self._layout()
        if namespaces.find_init(self.name) is None:
            raise NotRunning(f"cluster {self.name} is not running: `python -m e2e.cluster up --name {self.name}`")
        return layout

    def _layout(self) -> Layout:
        try:
            state: dict[str, Any] = json.loads(at.state_file(self.name).read_text())
            return Layout(self.name, cluster_dir(self.name), int(state["index"]))
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise NotRunning(
                f"no cluster {self.name}: `python -m e2e.cluster up --name {self.name}` makes one"
            ) from error

    def _claim_layout(self) -> Layout:
        """Take a free subnet and write it down, before anything is made that `down` must find."""
        with locked(clusters_dir() / ".lock"):
            routes = run([which("ip"), "-4", "route", "show", "table", "all"]).stdout
            index = at.first_free_index(at.used_indexes(), routes)
            path = at.state_file(self.name)
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"backend": self.backend, "index": index}))
        return self._layout()

    def _settle(self, layout: Layout, options: CreateOptions) -> None:
        """Wait for each part in turn and give the cluster its first objects."""
        self._wait("containerd", lambda: answers(str(layout.containerd_socket)), timeout=60)
        images.load_pause(layout)
        api = KubeApi(layout.kubeconfig)
        if not api.wait_ready(120):
            raise NotReady("kube-apiserver: not ready after 120 s")
        self._report("API server ready")
        for path, body in objects.initial_objects():
            api.apply(path, body)
        self._wait("node ready", lambda: is_ready(api.find(_NODE_PATH)), timeout=120)
        self._report("node ready")
        self._wait("default service account", lambda: _has_default_account(api), timeout=60)
        if options.gpus is not None:
            api.merge(f"{_NODE_PATH}/status", objects.gpu_patch(options.gpus))

    def _wait(self, what: str, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait, but not for a cluster whose process 1 has ended."""

        def condition_or_death() -> bool:
            if namespaces.find_init(self.name) is None:
                raise NotReady(f"{what}: the cluster's process 1 has ended (its log says why)")
            return condition()

        wait_for(what, condition_or_death, timeout=timeout)

    def _remove(self, *, keep_logs: bool) -> None:
        cgroups.kill(self.name)
        namespaces.remove_interfaces(self.name)
        cgroups.remove(self.name)
        directory = cluster_dir(self.name)
        mounted = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        below = sorted((point for point in mounted if point.startswith(f"{directory}/")), reverse=True)
        for point in below:  # none, unless a version of ours without a mount namespace left it
            run([which("umount"), "--lazy", point])
        if keep_logs and (directory / "log").is_dir():
            kept = cache_dir() / "logs" / f"{self.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            shutil.copytree(directory / "log", kept)
            self._report(f"logs kept in {kept}")
        if directory.exists():
            # The state file goes last: whatever interrupts this, another `down` finds the rest.
            others = [str(path) for path in directory.iterdir() if path != at.state_file(self.name)]
            for paths in (others, [str(directory)]):
                run(["rm", "-rf", "--one-file-system", "--", *paths], timeout=600)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` of a cluster at a time; the kernel lets go of it when its holder dies."""
        with locked(clusters_dir() / f".{self.name}.lock"):
            yield


def is_ready(node: dict[str, Any] | None) -> bool:
    """Whether a node says that it is Ready."""
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _has_default_account(api: KubeApi) -> bool:
    """Pods are refused until the controller manager has made it."""
    return api.find("/api/v1/namespaces/default/serviceaccounts/default") is not None
