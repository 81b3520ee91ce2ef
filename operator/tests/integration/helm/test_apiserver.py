"""The chart against a real API server: it is admitted, its pods are `restricted`, its Roles allow what they should."""

import json
from typing import Any

import httpx
import pytest

from hanse.api.rbac import GATE_ACCOUNT, GATE_TABLE, TABLE, Where
from hanse.dev.helmtest import Settings, build_objects
from tests.integration.conftest import Kubectl
from tests.integration.helm.conftest import Manifest, Render

RELEASE = "hanse-release"
COORDINATOR = "hanse-consortium"
OWNERS = ["hanse-bank-a", "hanse-bank-b"]
STRANGER = "hanse-stranger"
VALUES: dict[str, Any] = {"coordinatorNamespaces": [COORDINATOR], "participantNamespaces": OWNERS}
ACCOUNT = f"system:serviceaccount:{RELEASE}:hanse-operator"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
NAMESPACES = {Where.OPERATOR: RELEASE, Where.COORDINATOR: COORDINATOR, Where.PARTICIPANT: OWNERS[0]}
SECRETS_NEVER = ("list", "watch", "deletecollection", "update")


@pytest.fixture(scope="module")
def release(http: httpx.Client, render: Render) -> list[Manifest]:
    """The chart's objects, applied as Helm 4 does (server-side), in namespaces that admit restricted pods only."""
    for name in (RELEASE, COORDINATOR, *OWNERS, STRANGER):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
        assert http.post("/api/v1/namespaces", json=namespace).status_code == 201
    objects = render(VALUES, "-n", RELEASE)
    for each in objects:
        if each["kind"] != "Pod":
            apply(http, each)
    return objects


def path(manifest: Manifest) -> str:
    group, _, version = manifest["apiVersion"].rpartition("/")
    plural = manifest["kind"].lower() + "s"
    metadata = manifest["metadata"]
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{f'/apis/{group}' if group else '/api'}/{version}{scope}/{plural}"


def apply(http: httpx.Client, manifest: Manifest) -> None:
    response = http.patch(
        f"{path(manifest)}/{manifest['metadata']['name']}",
        params={"fieldManager": "helm", "force": "true", "fieldValidation": "Strict"},
        content=json.dumps(manifest),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert response.status_code in (200, 201), response.text


def allowed(http: httpx.Client, verb: str, group: str, resource: str, namespace: str, account: str = ACCOUNT) -> bool:
    resource, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": "x"}
    spec = {"user": account, "resourceAttributes": {**asked, "namespace": namespace}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    assert answer.status_code == 201, answer.text
    return bool(answer.json()["status"]["allowed"])


@pytest.mark.parametrize("where", NAMESPACES)
def test_the_operator_may_do_what_the_table_says(http: httpx.Client, release: list[Manifest], where: Where) -> None:
    denied = [
        (verb, resource)
        for grant in TABLE
        if where in grant.where
        for resource in grant.resources
        for verb in grant.verbs
        if not allowed(http, verb, grant.group, resource, NAMESPACES[where])
    ]
    assert denied == []


@pytest.mark.parametrize("namespace", [RELEASE, COORDINATOR, *OWNERS])
def test_secrets_cannot_be_listed(http: httpx.Client, release: list[Manifest], namespace: str) -> None:
    assert [verb for verb in SECRETS_NEVER if allowed(http, verb, "", "secrets", namespace)] == []


@pytest.mark.parametrize(
    ("verb", "group", "resource", "namespace"),
    [
        ("get", "", "secrets", STRANGER),
        ("create", "batch", "jobs", STRANGER),
        ("list", "", "pods", STRANGER),
        ("list", "", "namespaces", ""),
        ("create", "", "pods", COORDINATOR),
        ("create", "", "pods/exec", OWNERS[0]),
        ("get", "", "pods/log", OWNERS[0]),
        ("patch", "hanse.dev", "federatedjobs/status", OWNERS[0]),
        ("patch", "hanse.dev", "privacybudgets", OWNERS[0]),
        ("delete", "hanse.dev", "privacybudgets", OWNERS[0]),
        ("create", "batch", "jobs", RELEASE),
        ("create", "rbac.authorization.k8s.io", "rolebindings", OWNERS[0]),
        ("impersonate", "", "serviceaccounts", OWNERS[0]),
    ],
)
def test_the_operator_may_not(
    http: httpx.Client, release: list[Manifest], verb: str, group: str, resource: str, namespace: str
) -> None:
    assert not allowed(http, verb, group, resource, namespace)


GATE = f"system:serviceaccount:{OWNERS[0]}:{GATE_ACCOUNT}"


def test_a_gate_may_do_what_its_table_says(http: httpx.Client, release: list[Manifest]) -> None:
    asked = [(verb, g.group, resource) for g in GATE_TABLE for resource in g.resources for verb in g.verbs]
    assert [each for each in asked if not allowed(http, *each, OWNERS[0], GATE)] == []
    assert [each for each in asked if allowed(http, *each, OWNERS[1], GATE)] == []


@pytest.mark.parametrize(
    ("verb", "group", "resource"),
    [
        ("get", "", "secrets"),
        ("list", "", "secrets"),
        ("get", "", "configmaps"),
        ("delete", "", "configmaps"),
        ("patch", "", "configmaps"),
        ("create", "", "pods"),
        ("patch", "hanse.dev", "privacybudgets"),
        ("delete", "hanse.dev", "privacybudgets"),
        ("create", "hanse.dev", "privacybudgets"),
        ("get", "hanse.dev", "participations"),
    ],
)
def test_a_gate_may_not(http: httpx.Client, release: list[Manifest], verb: str, group: str, resource: str) -> None:
    assert not allowed(http, verb, group, resource, OWNERS[0], GATE)


def test_tokens_can_be_reviewed(http: httpx.Client, release: list[Manifest]) -> None:
    assert allowed(http, "create", "authentication.k8s.io", "tokenreviews", "")


def pods(release: list[Manifest]) -> dict[str, Manifest]:
    """The spec of each pod that the chart or its test makes, by what it is, with its namespace."""
    (deployment,) = (o for o in release if o["kind"] == "Deployment")
    (test,) = (o for o in release if o["kind"] == "Pod")
    settings = Settings(COORDINATOR, (OWNERS[0], OWNERS[1]), "app:1", "seed:1", "", 60)
    seed = next(o for o in build_objects(settings) if o["kind"] == "Job")
    return {
        "operator": {"namespace": RELEASE, "spec": deployment["spec"]["template"]["spec"]},
        "test": {"namespace": RELEASE, "spec": test["spec"]},
        "seed": {"namespace": OWNERS[0], "spec": seed["spec"]["template"]["spec"]},
    }


@pytest.mark.parametrize("which", ["operator", "test", "seed"])
def test_pods_are_restricted(http: httpx.Client, release: list[Manifest], which: str) -> None:
    pod = pods(release)[which]
    account = pod["spec"].get("serviceAccountName", "default")
    http.post(
        f"/api/v1/namespaces/{pod['namespace']}/serviceaccounts",
        json={"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
    )
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": which}, "spec": pod["spec"]}
    created = http.post(f"/api/v1/namespaces/{pod['namespace']}/pods", params={"dryRun": "All"}, json=manifest)
    assert created.status_code == 201, created.text
    assert "Warning" not in created.headers
    spoilt = {**manifest, "spec": {**pod["spec"], "hostNetwork": True}}
    refused = http.post(f"/api/v1/namespaces/{pod['namespace']}/pods", params={"dryRun": "All"}, json=spoilt)
    assert refused.status_code == 403


def test_kubectl_finds_nothing_to_warn_about(kubectl: Kubectl, release: list[Manifest]) -> None:
    objects = [o for o in release if o["kind"] != "Pod"]
    listing = {"apiVersion": "v1", "kind": "List", "items": objects}
    result = kubectl("apply", "--server-side", "--dry-run=server", "--field-manager=helm", "-f", "-", stdin=listing)
    assert "Warning" not in result.stderr
