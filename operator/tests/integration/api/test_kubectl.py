"""What a person sees with kubectl: explain, short names, columns, a refusal that can be read."""

import json
from pathlib import Path

import httpx
import pytest

from e2e.cluster.proc import wait_for
from hanse.dev.cases import load_cases, merge
from hanse.dev.crds import KINDS
from tests.integration.conftest import Kubectl

CASES = load_cases(Path(__file__).parent / "cases")
FIRST = {kind.kind: next(c.manifest for c in CASES if c.manifest["kind"] == kind.kind) for kind in KINDS}


@pytest.fixture
def documented(http: httpx.Client) -> None:
    """The API server publishes the schema of a CRD a moment after it has established it."""

    def published() -> bool:
        schemas = http.get("/openapi/v3/apis/hanse.dev/v1alpha1")
        return schemas.is_success and all(f"/{kind.plural}/" in schemas.text for kind in KINDS)

    wait_for("the OpenAPI schemas of our kinds", published, timeout=60)


@pytest.mark.usefixtures("documented")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("fj.spec.quorum", "Smallest number of participants whose updates make a round"),
        ("fj.spec.aggregation.strategy", "FedAvg, FedProx, FedAdam or FedYogi"),
        ("fj.status.conditions.reason", "Why, as one CamelCase word"),
        ("part.spec.policy.namespaces", "empty means nobody's"),
        ("pn.spec.plan", "What is asked, in full"),
        ("fj.spec.privacy.differentialPrivacy.sampleRate", "chance of each record to be in a round's batch"),
        ("pb.spec.delta", "no job may ask for a larger one"),
    ],
)
def test_explain(kubectl: Kubectl, path: str, text: str) -> None:
    output = " ".join(kubectl("explain", path).stdout.split())
    assert text in output


def test_columns(kubectl: Kubectl, namespace: str, http: httpx.Client) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", stdin=FIRST["FederatedJob"])
    summary = {"state": "Running", "round": "12/20", "participants": "3/3", "metric": "auc=0.771"}
    summary |= {"reason": "Running", "eta": "5m40s", "epsilon": "1.8/3.0"}
    kubectl(
        *("patch", "fj", "credit", "-n", namespace, "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": {"summary": summary}})),
    )
    narrow = [line.split() for line in kubectl("get", "fj", "-n", namespace).stdout.splitlines()]
    assert narrow[0] == ["NAME", "STATE", "ROUND", "PARTICIPANTS", "METRIC", "EPSILON", "AGE"]
    assert narrow[1][:6] == ["credit", "Running", "12/20", "3/3", "auc=0.771", "1.8/3.0"]
    wide = [line.split() for line in kubectl("get", "fj", "-n", namespace, "-o", "wide").stdout.splitlines()]
    assert wide[0] == [
        "NAME",
        "STATE",
        "ROUND",
        "PARTICIPANTS",
        "METRIC",
        "EPSILON",
        "ENCRYPTION",
        "REASON",
        "ETA",
        "AGE",
    ]
    assert wide[1][6:8] == ["Running", "5m40s"]


def test_short_names_and_categories(kubectl: Kubectl, namespace: str) -> None:
    for manifest in FIRST.values():
        kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=manifest)
    everything = kubectl("get", "hanse", "-n", namespace, "-o", "name").stdout.split()
    assert sorted(name.split("/")[0] for name in everything) == [
        "federatedjob.hanse.dev",
        "participant.hanse.dev",
        "participation.hanse.dev",
        "privacybudget.hanse.dev",
    ]
    for short in ("fj", "part", "pn", "pb"):
        assert len(kubectl("get", short, "-n", namespace, "-o", "name").stdout.split()) == 1


def test_a_refusal_can_be_read(kubectl: Kubectl) -> None:
    manifest = merge(FIRST["FederatedJob"], {"spec": {"quorum": 9, "rounds": 0}})
    refused = kubectl("apply", "-f", "-", stdin=manifest, check=False)
    assert refused.returncode != 0
    assert 'The FederatedJob "credit" is invalid' in refused.stderr
    assert "spec.rounds" in refused.stderr
    unknown = merge(FIRST["FederatedJob"], {"spec": {"roundz": 1}})
    assert 'unknown field "spec.roundz"' in kubectl("apply", "-f", "-", stdin=unknown, check=False).stderr


def test_the_crds_fit_into_the_annotation_of_a_client_side_apply(kubectl: Kubectl) -> None:
    """`kubectl apply` keeps what it applied in an annotation of at most 262,144 bytes."""
    crds = Path(__file__).resolve().parents[4] / "crds"
    kubectl("apply", "--dry-run=server", "-f", str(crds))
    assert max(path.stat().st_size for path in crds.glob("*.yaml")) < 200_000
