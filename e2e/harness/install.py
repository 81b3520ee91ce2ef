"""Put Hanse on a cluster: load the images, install the chart, make owners with data. Used by the tests and the demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.paths import cache_dir
from e2e.harness.federation import OPERATOR_NAMESPACE
from e2e.harness.kube import Kube, Object, wait_until
from e2e.harness.objects import COORDINATOR, claim, data_config_map, load_job, namespace

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "hanse"
RUNTIME_IMAGES = ("operator", "server", "gate", "trainer-cpu")


@dataclass(frozen=True)
class Image:
    """A built image: how pods name it, and the archive that a cluster loads."""

    name: str
    ref: str
    archive: Path

    @property
    def repository(self) -> str:
        return self.ref.split("@")[0]

    @property
    def digest(self) -> str:
        return self.ref.split("@")[1]


def choose_backend() -> str:
    """HANSE_E2E_BACKEND, or kind where a Docker engine answers, or the local cluster."""
    chosen = os.environ.get("HANSE_E2E_BACKEND")
    if chosen:
        return chosen
    if shutil.which("kind") and shutil.which("docker"):
        engine = subprocess.run(["docker", "info"], capture_output=True, check=False)
        if engine.returncode == 0:
            return "kind"
    return "local"


def build_images(say: Callable[[str], None] = print) -> dict[str, Image]:
    """Run scripts/build for what is missing and read what it built."""
    say("building images")
    subprocess.run([str(ROOT / "scripts" / "build"), *RUNTIME_IMAGES], check=True)
    manifest: dict[str, Any] = json.loads((cache_dir() / "images" / "manifest.json").read_text())
    return {name: Image(name, manifest[name]["ref"], Path(manifest[name]["archive"])) for name in RUNTIME_IMAGES}


def build_app(name: str, directory: Path) -> Image:
    """A user's image: scripts/build app."""
    subprocess.run([str(ROOT / "scripts" / "build"), "app", name, str(directory)], check=True)
    found: dict[str, Any] = json.loads((cache_dir() / "images" / "manifest.json").read_text())[name]
    return Image(name, found["ref"], Path(found["archive"]))


def helm_values(images: dict[str, Image], owners: list[str]) -> Object:
    """Values of the namespaced installation that the tests and the demo use."""
    return {
        "images": {
            name: {"repository": images[name].repository, "digest": images[name].digest}
            for name in ("operator", "server", "gate")
        },
        "coordinatorNamespaces": [COORDINATOR],
        "participantNamespaces": owners,
    }


def install_chart(kube: Kube, helm: Path, values: Object, *, wait: bool = True) -> None:
    """helm upgrade --install with the values, and wait until the operator answers."""
    kube.apply(namespace(OPERATOR_NAMESPACE))
    command = [str(helm), "upgrade", "--install", "hanse", str(CHART), "-n", OPERATOR_NAMESPACE, "-f", "-"]
    if wait:
        command += ["--wait", "--timeout", "180s"]
    done = subprocess.run(
        command,
        input=json.dumps(values),
        text=True,
        capture_output=True,
        env=kube.environment,
        check=False,
    )
    if done.returncode != 0:
        pods = kube.run("describe", "pods", "-n", OPERATOR_NAMESPACE, check=False)
        logs = kube.run("logs", "-n", OPERATOR_NAMESPACE, "deploy/hanse-operator", "--tail=50", check=False)
        raise RuntimeError(f"helm: {done.stderr}\n{pods[-3000:]}\n{logs}")


def load_data(kube: Kube, owner: str, claim_name: str, files: dict[str, Path], image: str) -> None:
    """Copy small files (name in the claim -> file here) into a claim of the owner's; only kubectl is needed."""
    name = f"load-{claim_name}"
    if kube.find("job", name, owner):
        return
    if kube.find("persistentvolumeclaim", claim_name, owner) is None:
        kube.apply(claim(claim_name, owner))
    # Not applied: the annotation or the managed fields of a file this large would not fit.
    kube.delete("configmap", name, owner)
    kube.create(data_config_map(name, owner, files))
    kube.create(load_job(name, owner, name, claim_name, image))
    wait_until(
        f"data of {owner} loaded",
        lambda: kube.get("job", name, owner).get("status", {}).get("succeeded"),
        timeout=180,
    )
    kube.delete("configmap", name, owner)
