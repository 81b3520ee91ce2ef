"""kubectl as a person uses it, with JSON in and out. Used by every end-to-end test and by the demo."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Object = dict[str, Any]


class KubectlError(Exception):
    """kubectl exited with an error; the text is what it printed."""


class TimedOut(Exception):
    """Something did not become true in time; the text says what, and what was seen last."""


def wait_until(what: str, look: Callable[[], T | None], *, timeout: float = 120, every: float = 0.5) -> T:
    """Call `look` until it returns something true. Raises TimedOut with what it returned last."""
    end = time.monotonic() + timeout
    last: T | None = None
    while time.monotonic() < end:
        last = look()
        if last:
            return last
        time.sleep(every)
    raise TimedOut(f"{what}: not within {timeout:.0f} s (last seen: {last!r})")


@dataclass(frozen=True)
class Kube:
    """One cluster through its kubeconfig."""

    kubectl: Path
    kubeconfig: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with the cluster's kubeconfig: for kubectl, helm and hanse alike."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def run(self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """kubectl's standard output. Raises KubectlError with what it said otherwise."""
        done = subprocess.run(
            [str(self.kubectl), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )
        if check and done.returncode != 0:
            raise KubectlError((done.stderr or done.stdout).strip())
        return done.stdout

    def apply(self, *objects: Object) -> None:
        """Server-side apply, so that field errors come back as the API server says them."""
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=_list(objects))

    def create(self, *objects: Object) -> None:
        """Create; an object that exists is an error."""
        self.run("create", "-f", "-", stdin=_list(objects))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where there is none."""
        text = self.run("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """The object. Raises KubectlError where there is none."""
        found: Object = json.loads(self.run("get", kind, name, *_in(namespace), "-o", "json"))
        return found

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """All objects of a kind, in one namespace or in all."""
        scope = ["-n", namespace] if namespace else ["-A"]
        chosen = ["-l", selector] if selector else []
        items: list[Object] = json.loads(self.run("get", kind, *scope, *chosen, "-o", "json"))["items"]
        return items

    def delete(self, kind: str, name: str, namespace: str | None = None, *, wait: bool = True) -> None:
        """Delete, also what is gone already."""
        self.run("delete", kind, name, *_in(namespace), "--ignore-not-found", f"--wait={str(wait).lower()}")

    def patch(self, kind: str, name: str, namespace: str | None, change: Object, *, subresource: str = "") -> None:
        """JSON merge patch."""
        sub = [f"--subresource={subresource}"] if subresource else []
        self.run("patch", kind, name, *_in(namespace), "--type=merge", "-p", json.dumps(change), *sub)

    def logs(self, pod: str, namespace: str, container: str) -> str:
        """What the container printed; empty where there is nothing to read."""
        return self.run("logs", pod, "-n", namespace, "-c", container, check=False)

    def exec(self, pod: str, namespace: str, container: str, *command: str, check: bool = True) -> str:
        """Run a command in a container."""
        return self.run("exec", pod, "-n", namespace, "-c", container, "--", *command, check=check)


def condition(obj: Object, kind: str) -> Object:
    """One condition of an object; an empty dict where it has none."""
    conditions: Sequence[Object] = obj.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition is True."""
    return condition(obj, kind).get("status") == "True"


def _in(namespace: str | None) -> list[str]:
    return ["-n", namespace] if namespace else []


def _list(objects: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
