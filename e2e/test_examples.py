"""Each example as its README says, on a cluster; the model is scored on held-out records that no pod has seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e import demo_private
from e2e.cluster.backend import Cluster
from e2e.harness import examples, install
from e2e.harness.federation import Federation, completed
from e2e.harness.install import Image
from e2e.harness.kube import Kube, condition
from e2e.harness.objects import COORDINATOR
from e2e.harness.session import OWNERS

HANSE = Path(sys.executable).with_name("hanse")


def hanse(kube: Kube, *args: str) -> str:
    """The hanse command on the test's cluster."""
    done = subprocess.run(
        [str(HANSE), *args],
        capture_output=True,
        text=True,
        env=kube.environment,
        check=False,
    )
    assert done.returncode == 0, f"hanse {' '.join(args)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def fetched(federation: Federation, job: str, directory: Path) -> Path:
    """The model, through `hanse model get`, which checks its digest."""
    model = directory / f"{job}.safetensors"
    hanse(federation.kube, "model", "get", job, "-n", COORDINATOR, "-o", str(model))
    return model


def test_credit(federation: Federation, images: dict[str, Image], tmp_path: Path) -> None:
    """Three banks, 20 rounds; what a user sees in kubectl, and the model's score."""
    kube, credit = federation.kube, examples.credit()
    federation.jobs.append(credit.name)
    examples.submit(kube, credit, images["trainer-cpu"].ref)
    kube.run(
        "wait", "--for=condition=Complete", "federatedjob/credit", "-n", COORDINATOR, "--timeout=420s", timeout=450
    )
    job = federation.job(credit.name)
    assert completed(job) == 20
    assert len(job["status"]["rounds"]) == 20
    columns = kube.run("get", "fj", "-n", COORDINATOR).splitlines()
    assert columns[0].split() == ["NAME", "STATE", "ROUND", "PARTICIPANTS", "METRIC", "EPSILON", "AGE"]
    row = next(line for line in columns if line.startswith("credit ")).split()
    assert row[1:4] == ["Complete", "20/20", "3/3"]
    assert row[4].startswith("auc=0.7")
    story = kube.run("describe", "fj", credit.name, "-n", COORDINATOR)
    for event in ("Accepted", "Started", "Complete"):
        assert event in story
    model = fetched(federation, credit.name, tmp_path)
    scores = examples.score(model, credit)
    assert scores["auc"] >= 0.770, scores
    assert "probability of default-payment-next-month" in examples.predict_one(model, credit)


def test_credit_private(federation: Federation, images: dict[str, Image], tmp_path: Path) -> None:
    """The same banks hide every borrower, and the server adds what it cannot read; the model is nearly as good."""
    kube, credit = federation.kube, examples.credit_private()
    federation.jobs.append(credit.name)
    examples.submit(kube, credit, images["trainer-cpu"].ref)
    job = federation.wait(credit.name, "Complete", timeout=420)
    assert [r for r in job["status"]["rounds"] if r.get("missing")] == []
    header, line = kube.run("get", "fj", credit.name, "-n", COORDINATOR).splitlines()
    row = dict(zip(header.split(), line.split(), strict=True))
    assert row["EPSILON"] == "3.0/3.0"
    assert row["METRIC"].startswith("auc=0.")
    privacy = job["status"]["privacy"]
    assert (privacy["encryption"], privacy["keyMaker"], privacy["keyHolders"]) == ("BFV", "bank-a", credit.owners)
    assert privacy["keyFingerprint"].startswith("sha256:")
    spent = {row["adversary"]: float(row["spent"]) for row in privacy["epsilon"]}
    assert spent["Outsiders"] == spent["CollusionThreshold"] <= 3.0 < spent["OneParticipant"] < spent["ServerAndOne"]
    for bank in credit.owners:
        paid = federation.participation(credit.name, bank)["status"]["epsilon"]["spent"]
        assert abs(float(paid) - spent["ServerAndOne"]) < 0.01, "charged for what the bank's policy counts with"
        # A cluster that was kept has more of it: the same banks' data under the same budget.
        assert float(kube.get("privacybudget", "borrowers", bank)["status"]["spent"]["epsilon"]) >= float(paid)
    certificate, key = demo_private.fetch_certificate(kube, credit.name, credit.owners[0], tmp_path)
    said = hanse(kube, "certificate", "verify", str(certificate), "--public-key", str(key))
    by_pld = [float(line.split()[2].rstrip(":")) for line in said.splitlines() if "accountant PLD" in line]
    assert len(by_pld) == 3, said
    assert all(tighter < charged for tighter, charged in zip(sorted(by_pld), sorted(set(spent.values())), strict=True))
    scores = examples.score(fetched(federation, credit.name, tmp_path), credit)
    assert scores["auc"] >= 0.766, scores


def test_images(federation: Federation, images: dict[str, Image], tmp_path: Path) -> None:
    """Two hospitals with skewed labels reach the accuracy that the example promises."""
    scans = examples.images()
    federation.jobs.append(scans.name)
    examples.submit(federation.kube, scans, images["trainer-cpu"].ref)
    federation.wait(scans.name, "Complete", timeout=420)
    scores = examples.score_images(fetched(federation, scans.name, tmp_path), scans)
    assert scores["accuracy"] >= 0.95, scores


@pytest.mark.usefixtures("images")
def test_bring_your_own_app(federation: Federation, cluster: Cluster, tmp_path: Path) -> None:
    """An ordinary Flower app with a ServerApp of its own, in a user's image, without a change."""
    clinics = examples.clinics()
    image = install.build_app("clinics", examples.EXAMPLES / clinics.name)
    cluster.load_images([image.archive])
    federation.jobs.append("clinics")
    examples.submit(federation.kube, clinics, image.ref)
    job = federation.wait("clinics", "Complete", timeout=420)
    assert completed(job) == 10
    assert fetched(federation, "clinics", tmp_path).stat().st_size > 0


@pytest.mark.usefixtures("images")
def test_an_app_without_initial_model_says_what_to_do(federation: Federation, cluster: Cluster, name: str) -> None:
    """The platform's ServerApp needs a first model; an app that has none names its own ServerApp."""
    clinics = examples.clinics()
    image = install.build_app("clinics", examples.EXAMPLES / clinics.name)
    cluster.load_images([image.archive])
    federation.submit(name, OWNERS[:2], image=image.ref, app={"clientApp": "clinics.client_app:app"})
    failed = condition(federation.wait(name, "Failed"), "Failed")
    assert failed["reason"] == "ServerAppFailed"
    assert "serverApp" in failed["message"]
