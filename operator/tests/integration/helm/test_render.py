"""The chart, rendered with a matrix of values: valid objects, least privilege, refusals that say what to do."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from hanse.api.rbac import Where, gate_rules, policy_rules
from hanse.dev.crds import KINDS
from tests.integration.helm.conftest import CHART, NAMESPACED, Helm, Manifest, Render

DIGEST = "sha256:" + "0" * 64
EVERYTHING: dict[str, Any] = {
    **NAMESPACED,
    "ownerManagedNamespaces": ["bank-c"],
    "images": {
        name: {"repository": f"registry.example.com/hanse/{name}", "digest": DIGEST}
        for name in ("operator", "server", "gate")
    }
    | {"pullSecrets": ["registry"], "pullPolicy": "Always"},
    "operator": {
        "allowImageTags": True,
        "serverLostSeconds": 60,
        "logLevel": "debug",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"team": "ml"},
        "podAnnotations": {"note": "yes"},
        "resources": {"limits": {"cpu": "1"}},
    },
    "serviceAccount": {"annotations": {"cloud/identity": "x"}},
    "metrics": {"serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"prometheus": "main"}}},
    "test": {"storageClassName": "fast", "timeoutSeconds": 60},
}
MATRIX: dict[str, dict[str, Any]] = {
    "namespaced": NAMESPACED,
    "everything": EVERYTHING,
    "no owner yet": {"coordinatorNamespaces": ["consortium"]},
    "coordinator is an owner too": {"coordinatorNamespaces": ["lab"], "participantNamespaces": ["lab"]},
    "cluster-wide": {"clusterWide": True},
    "cluster-wide with namespaces": {**NAMESPACED, "clusterWide": True},
    "with CRDs": {**NAMESPACED, "crds": {"install": True}},
    "CRDs not kept": {**NAMESPACED, "crds": {"keep": False}},
    "without a test": {**NAMESPACED, "test": {"enabled": False}},
    "another name": {**NAMESPACED, "fullnameOverride": "fl"},
}
#: Kinds without a schema in kubernetes-validate.
FOREIGN = {"ServiceMonitor"}


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    return [o for o in objects if o["kind"] in kinds]


@pytest.fixture(scope="module", params=list(MATRIX.values()), ids=list(MATRIX))
def objects(request: pytest.FixtureRequest, render: Render) -> list[Manifest]:
    """The chart rendered with each set of values."""
    # The CRDs are the same in all of them and take most of the time.
    return render({"crds": {"install": False}, **request.param})


@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_objects_are_valid(objects: list[Manifest], version: str) -> None:
    for each in objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, version, strict=True)


def test_no_wildcards_and_no_reading_of_secrets(objects: list[Manifest]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert set(rule["verbs"]) == {"get", "create", "patch", "delete"}


def test_each_identity_is_unique(objects: list[Manifest]) -> None:
    identities = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(identities)) == len(identities)


def test_the_namespaced_install_has_little_that_is_cluster_scoped(render: Render) -> None:
    scoped = [o for o in render(EVERYTHING) if "namespace" not in o["metadata"]]
    kinds = sorted(o["kind"] for o in scoped)
    assert kinds == ["ClusterRole", "ClusterRoleBinding", *["CustomResourceDefinition"] * len(KINDS)]
    (role,) = of_kind(scoped, "ClusterRole")
    rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    assert role["rules"] == [rule]


def test_roles_are_the_table(render: Render) -> None:
    roles = {
        (o["metadata"]["namespace"], o["metadata"]["name"]): o["rules"]
        for o in of_kind(render({**EVERYTHING, "test": {"enabled": False}}), "Role")
    }
    assert roles == {
        ("hanse-system", "hanse-operator-operator"): policy_rules(Where.OPERATOR),
        ("consortium", "hanse-operator-coordinator"): policy_rules(Where.COORDINATOR),
        ("bank-a", "hanse-operator-participant"): policy_rules(Where.PARTICIPANT),
        ("bank-b", "hanse-operator-participant"): policy_rules(Where.PARTICIPANT),
        ("bank-a", "hanse-gate"): gate_rules(),
        ("bank-b", "hanse-gate"): gate_rules(),
    }


def test_cluster_wide_has_one_role_for_all_namespaces(render: Render) -> None:
    rules = [o["rules"] for o in of_kind(render({"clusterWide": True}), "ClusterRole")]
    assert sorted(rules, key=len) == [
        policy_rules(Where.CLUSTER),
        policy_rules(Where.COORDINATOR, Where.PARTICIPANT),
    ]


def environment(objects: list[Manifest]) -> dict[str, Any]:
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def test_settings_of_the_operator(render: Render) -> None:
    assert environment(render(EVERYTHING)) == {
        "OPERATOR_NAMESPACE": None,  # from the pod's metadata
        "WATCH_NAMESPACES": "consortium,bank-a,bank-b,bank-c",
        "SERVER_IMAGE": f"registry.example.com/hanse/server@{DIGEST}",
        "GATE_IMAGE": f"registry.example.com/hanse/gate@{DIGEST}",
        "ALLOW_IMAGE_TAGS": "true",
        "SERVER_LOST_SECONDS": "60",
        "SERVICE_NAME": "hanse-operator",
        "LOG_LEVEL": "debug",
    }
    assert environment(render({**NAMESPACED, "clusterWide": True}))["WATCH_NAMESPACES"] == ""


def test_the_service_has_the_name_that_the_operator_is_told(render: Render) -> None:
    objects = render({**NAMESPACED, "fullnameOverride": "fl"})
    (service,) = of_kind(objects, "Service")
    assert environment(objects)["SERVICE_NAME"] == service["metadata"]["name"] == "fl"
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == {"progress": 8443, "metrics": 8080}


def test_the_crds_are_those_of_crds_directory(render: Render) -> None:
    rendered = {o["metadata"]["name"]: o for o in of_kind(render(NAMESPACED), "CustomResourceDefinition")}
    plain = [yaml.safe_load(path.read_text()) for path in sorted((CHART.parents[1] / "crds").glob("*.yaml"))]
    assert {crd["metadata"]["name"]: crd["spec"] for crd in plain} == {n: o["spec"] for n, o in rendered.items()}
    assert all(o["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for o in rendered.values())
    dropped = of_kind(render({**NAMESPACED, "crds": {"keep": False}}), "CustomResourceDefinition")
    assert len(dropped) == len(plain)
    assert all("annotations" not in o["metadata"] for o in dropped)
    assert of_kind(render({**NAMESPACED, "crds": {"install": False}}), "CustomResourceDefinition") == []


def test_the_test_needs_an_owner_and_can_be_left_out(render: Render) -> None:
    assert of_kind(render({"coordinatorNamespaces": ["consortium"]}), "Pod") == []
    assert of_kind(render({**NAMESPACED, "test": {"enabled": False}}), "Pod") == []
    (pod,) = of_kind(render(NAMESPACED), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_lint(helm: Helm, values: dict[str, Any]) -> None:
    result = helm("lint", "--strict", str(CHART), values=values)
    assert result.returncode == 0, result.stdout
    assert "[WARNING]" not in result.stdout


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "coordinatorNamespaces is empty"),
        ({"coordinatorNamespaces": ["hanse-system"]}, "where the jobs' CA keys are kept"),
        ({**NAMESPACED, "participantNamespaces": ["hanse-system"]}, "where the jobs' CA keys are kept"),
        ({**NAMESPACED, "ownerManagedNamespaces": ["bank-a"]}, "remove it from one"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, values: dict[str, Any], text: str) -> None:
    result = helm("template", "hanse", str(CHART), "-n", "hanse-system", values=values)
    assert result.returncode != 0
    assert text in result.stderr


def paths_of_objects(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Each mapping in values.yaml that has keys of its own (free-form ones are empty by default)."""
    if not isinstance(value, dict) or not value:
        return []
    below = [found for key, child in value.items() for found in paths_of_objects(child, (*path, key))]
    return [path, *below]


FREE_FORM = {("operator", "resources", "requests"), ("operator", "resources", "limits")}
CLOSED = [p for p in paths_of_objects(yaml.safe_load((CHART / "values.yaml").read_text())) if p not in FREE_FORM]


@pytest.mark.parametrize("path", CLOSED, ids=".".join)
def test_unknown_keys_are_refused_everywhere(helm: Helm, path: tuple[str, ...]) -> None:
    values: Any = {"surprise": 1}
    for key in reversed(path):
        values = {key: values}
    result = helm("template", "hanse", str(CHART), values=values)
    assert result.returncode != 0
    assert "additional properties 'surprise' not allowed" in result.stderr


def test_notes_say_the_next_three_commands(helm: Helm) -> None:
    result = helm("install", "hanse", str(CHART), "-n", "hanse-system", "--dry-run=client", values=EVERYTHING)
    assert result.returncode == 0, result.stderr
    notes = result.stdout.split("NOTES:")[1]
    for text in ("rollout status deployment/hanse-operator", "helm -n hanse-system test hanse", "get federatedjobs"):
        assert text in notes
    assert "hanse owner-rbac bank-c" in notes


def test_values_do_not_drift_from_their_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema) - {"global"}
