"""scripts/demo: a cluster, Hanse by its chart, a credit example on real data, the result, and what to type next."""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from e2e import demo_private
from e2e.cluster import binaries
from e2e.cluster.backend import Cluster, CreateOptions
from e2e.cluster.registry import open_cluster
from e2e.harness import examples, install, objects
from e2e.harness.install import ROOT, choose_backend
from e2e.harness.kube import Kube, is_true

NAME = "demo"
JOB = "credit"
HANSE = Path(sys.executable).with_name("hanse")


@dataclass
class Clock:
    """Prints each step with the time since the start."""

    started: float

    def step(self, text: str) -> None:
        print(f"\n\033[1m[{time.monotonic() - self.started:5.0f} s] {text}\033[0m", flush=True)


def main() -> int:
    """Run one command of scripts/demo."""
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("command", choices=["up", "again", "private", "status", "down"], nargs="?", default="up")
    command = parser.parse_args().command
    cluster = open_cluster(
        NAME, os.environ.get("HANSE_E2E_BACKEND"), report=lambda line: print("   ", line, flush=True)
    )
    if command == "down":
        cluster.delete()
        print("The demo's cluster is gone; built binaries and images stay in the cache for the next time.")
        return 0
    if command == "status":
        return _status(cluster)
    clock = Clock(time.monotonic())
    try:
        return _private(clock) if command == "private" else _up(clock, again=command == "again")
    except KeyboardInterrupt:
        print("\nInterrupted. What is there stays: scripts/demo goes on from it, scripts/demo down removes it.")
        return 130


def _status(cluster: Cluster) -> int:
    status = cluster.status()
    print("\n".join((f"{status.name} ({status.backend}): {'ready' if status.ready else 'not ready'}", *status.detail)))
    if status.kubeconfig:
        print(f"export KUBECONFIG={status.kubeconfig}")
    return 0 if status.ready else 1


def _up(clock: Clock, *, again: bool) -> int:
    credit = examples.credit()
    kube, trainer = _installed(clock, credit)
    if again:
        kube.delete("federatedjob", JOB, objects.COORDINATOR)
    _train(clock, kube, credit, trainer)
    return _result(clock, kube, credit)


def _private(clock: Clock) -> int:
    """The job before this one is deleted, what it cost is not forgotten: budgets are for all jobs together."""
    credit = examples.credit_private()
    kube, trainer = _installed(clock, credit)
    kube.delete("federatedjob", credit.name, objects.COORDINATOR)
    _train(clock, kube, credit, trainer)
    clock.step("What kubectl says")
    print(kube.run("get", "federatedjobs", "-A", "-o", "wide"))
    job = kube.get("federatedjob", credit.name, objects.COORDINATOR)
    if not is_true(job, "Complete"):
        return _told_why(kube, credit.name)
    clock.step("Who could learn what, and what each bank has paid")
    demo_private.print_epsilons(job)
    print(kube.run("get", "privacybudgets", "-A"))
    bank = credit.owners[0]
    clock.step(f"What the gate of {bank} signed, checked without the cluster")
    certificate, key = demo_private.fetch_certificate(kube, credit.name, bank, ROOT / "out")
    _hanse(kube, "certificate", "verify", str(certificate), "--public-key", str(key))
    clock.step("The model")
    model = _fetched(kube, credit.name)
    scores = examples.score(model, credit)
    print(f"held out {credit.held_out_records:,} records that no bank has seen: AUC {scores['auc']:.4f}")
    _print_next(kube, model, credit.name)
    return 0


def _installed(clock: Clock, credit: examples.Example) -> tuple[Kube, str]:
    """A cluster with Hanse and the namespaces; its kubectl, and the trainer's image."""
    clock.step("A Kubernetes on this machine (the first time builds it: some minutes)")
    cluster = open_cluster(NAME, choose_backend(), report=lambda line: print("   ", line, flush=True))
    cluster.create(CreateOptions())
    kube = Kube(binaries.ensure(["kubectl"])["kubectl"], cluster.kubeconfig())
    clock.step("Images (the first time builds them: some minutes)")
    images = install.build_images(say=lambda line: print("   ", line, flush=True))
    cluster.load_images([image.archive for image in images.values()])
    clock.step("Hanse, by its Helm chart")
    kube.apply(objects.namespace(objects.COORDINATOR), *(objects.namespace(owner) for owner in credit.owners))
    install.install_chart(kube, binaries.ensure(["helm"])["helm"], install.helm_values(images, credit.owners))
    return kube, images["trainer-cpu"].ref


def _train(clock: Clock, kube: Kube, credit: examples.Example, trainer: str) -> None:
    clock.step("Three banks, each with its own data in its own namespace")
    examples.submit(kube, credit, trainer)
    _print_banks(kube, credit)
    clock.step("Training")
    _hanse(kube, "watch", credit.name, "-n", objects.COORDINATOR)


def _print_banks(kube: Kube, credit: examples.Example) -> None:
    for owner, path in credit.data.items():
        with gzip.open(path, "rt") as lines:
            records = sum(1 for _ in lines) - 1
        print(f"    {owner}: {records:,} records, in namespace {owner}; they stay there")
    print(kube.run("get", "participants", "-A"))


def _result(clock: Clock, kube: Kube, credit: examples.Example) -> int:
    clock.step("What kubectl says")
    print(kube.run("get", "federatedjobs", "-A"))
    print(kube.run("get", "participations", "-A"))
    job = kube.get("federatedjob", JOB, objects.COORDINATOR)
    if not is_true(job, "Complete"):
        return _told_why(kube, JOB)
    clock.step("The model")
    model = _fetched(kube, JOB)
    scores = examples.score(model, credit)
    clock.step("The same records without a federation, for comparison")
    alone = examples.compare()
    rows = {
        "each bank alone (mean of three)": (alone["local_auc"], alone["local_f1"]),
        "federated, this run": (scores["auc"], scores["f1"]),
        "centralised (all rows in one place)": (alone["centralised_auc"], alone["centralised_f1"]),
    }
    print(f"\n    {f'held out: {credit.held_out_records:,} records that no bank has seen':52} {'AUC':>7} {'F1':>7}")
    for label, (auc, f1) in rows.items():
        print(f"    {label:52} {auc:7.4f} {f1:7.4f}")
    clock.step("A prediction for one person who was held out")
    print(examples.predict_one(model, credit))
    _print_next(kube, model, JOB)
    return 0


def _told_why(kube: Kube, name: str) -> int:
    print(kube.run("describe", "federatedjob", name, "-n", objects.COORDINATOR))
    return 1


def _fetched(kube: Kube, name: str) -> Path:
    model = ROOT / "out" / f"{name}.safetensors"
    model.parent.mkdir(exist_ok=True)
    _hanse(kube, "model", "get", name, "-n", objects.COORDINATOR, "-o", str(model))
    return model


def _print_next(kube: Kube, model: Path, name: str) -> None:
    print(f"""
\033[1mWhat to type next\033[0m
    export KUBECONFIG={kube.kubeconfig} PATH={binaries.links_dir()}:{HANSE.parent}:$PATH
    kubectl get federatedjobs -A -o wide
    kubectl describe federatedjob {name} -n {objects.COORDINATOR}
    kubectl get participations -A
    kubectl explain federatedjob.spec
    hanse model show {model.relative_to(ROOT)}
    scripts/demo again      # the first example once more
    scripts/demo private    # the same banks: every update encrypted, every borrower hidden by noise
    scripts/demo down       # remove all of it
""")


def _hanse(kube: Kube, *args: str) -> None:
    subprocess.run([str(HANSE), *args], check=False, env=kube.environment)


if __name__ == "__main__":
    sys.exit(main())
