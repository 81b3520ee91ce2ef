"""What the operator and the gates may do, as tables. The chart's Roles are generated from them, `hanse owner-rbac` too.

Least privilege: no `*`; Secrets are never listed or watched; nothing outside the namespaces that take part, but for
TokenReview, which has no namespace.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hanse.api.names import GROUP

Manifest = dict[str, Any]

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
DEFAULT_SERVICE_ACCOUNT: Final = "hanse-operator"
#: Not the chart's name: Helm refuses to take over what an owner applied.
OWNER_ROLE_NAME: Final = "hanse-operator-by-owner"
#: ServiceAccount, Role and RoleBinding of the gates in an owner's namespace. Only the gate's container of a job with
#: privacy gets a token of it.
GATE_ACCOUNT: Final = "hanse-gate"


class Where(StrEnum):
    """Kinds of namespaces, and the cluster for what has none."""

    OPERATOR = "operator"
    COORDINATOR = "coordinator"
    PARTICIPANT = "participant"
    CLUSTER = "cluster"


@dataclass(frozen=True)
class Grant:
    """Verbs on resources of one API group, in some kinds of namespaces, and what for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    where: tuple[Where, ...]
    why: str

    def to_rule(self) -> Manifest:
        """A PolicyRule."""
        return {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}


_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "patch", "delete")
_O, _C, _P = Where.OPERATOR, Where.COORDINATOR, Where.PARTICIPANT

TABLE: Final = (
    # One watch for each kind and served namespace: the kinds that a namespace has none of are read there too.
    Grant(
        GROUP,
        ("federatedjobs", "participants", "participations", "privacybudgets"),
        _READ,
        (_C, _P),
        "watch what it serves",
    ),
    Grant(GROUP, ("federatedjobs",), ("delete",), (_C,), "delete at ttlSecondsAfterFinished"),
    Grant(GROUP, ("federatedjobs/status",), ("get", "patch"), (_C,), "write what is known of a job"),
    Grant(GROUP, ("participants/status",), ("get", "patch"), (_P,), "say whether a Participant can be used"),
    Grant(GROUP, ("participations",), _WRITE, (_P,), "ask owners, and sweep what a job left"),
    Grant(GROUP, ("participations/status",), ("get", "patch"), (_P,), "tell owners what happens"),
    Grant(GROUP, ("privacybudgets/status",), ("get", "patch"), (_P,), "reserve in budgets, fold what was spent"),
    Grant("batch", ("jobs",), (*_READ, *_WRITE), (_C, _P), "server Jobs and client Jobs"),
    Grant("", ("pods",), _READ, (_C, _P), "see why a pod does not run; Jobs create them"),
    Grant("", ("services",), ("get", *_WRITE), (_C,), "the name under which gates reach a job's server"),
    Grant("", ("persistentvolumeclaims",), ("get", *_WRITE), (_C,), "a job's volume; whether output.claimName exists"),
    Grant("", ("persistentvolumeclaims",), ("get",), (_P,), "whether a dataset's claim exists"),
    Grant("", ("configmaps",), ("get", "list", *_WRITE), (_O, _C, _P), "config files of pods; the list of CA keys"),
    Grant("", ("secrets",), ("get", *_WRITE), (_O, _C, _P), "CA keys (operator's namespace only), certificates"),
    Grant("", ("namespaces",), ("get",), (_C, _P), "tell a missing namespace from a missing Participant"),
    Grant("", ("events",), ("create", "patch"), (_O, _C, _P), "events"),
    Grant("events.k8s.io", ("events",), ("create", "patch"), (_O, _C, _P), "events"),
    Grant("authentication.k8s.io", ("tokenreviews",), ("create",), (Where.CLUSTER,), "who pushes progress"),
)


#: What a gate may do in its owner's namespace.
GATE_TABLE: Final = (
    Grant(GROUP, ("privacybudgets",), ("get", "list"), (_P,), "read the budgets: data belongs to one population"),
    Grant(GROUP, ("privacybudgets/status",), ("get", "patch"), (_P,), "write releases before they leave"),
    Grant("", ("configmaps",), ("create",), (_P,), "the certificate of a job"),
)


def grants(*where: Where) -> list[Grant]:
    """What is granted in these kinds of namespaces, in the table's order."""
    return [grant for grant in TABLE if set(where) & set(grant.where)]


def policy_rules(*where: Where) -> list[Manifest]:
    """PolicyRules for these kinds of namespaces."""
    return [grant.to_rule() for grant in grants(*where)]


def owner_manifests(
    namespace: str, *, operator_namespace: str, service_account: str = DEFAULT_SERVICE_ACCOUNT
) -> list[Manifest]:
    """What a data owner applies: the operator's Role and RoleBinding, and the gates' own account with theirs."""
    operator = {"kind": "ServiceAccount", "name": service_account, "namespace": operator_namespace}
    gate = {"kind": "ServiceAccount", "name": GATE_ACCOUNT, "namespace": namespace}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(GATE_ACCOUNT, namespace),
        "automountServiceAccountToken": False,
    }
    return [
        *_bound(OWNER_ROLE_NAME, namespace, policy_rules(Where.PARTICIPANT), operator),
        account,
        *_bound(GATE_ACCOUNT, namespace, gate_rules(), gate),
    ]


def gate_rules() -> list[Manifest]:
    """PolicyRules of the gates in an owner's namespace."""
    return [grant.to_rule() for grant in GATE_TABLE]


def _metadata(name: str, namespace: str) -> Manifest:
    return {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "hanse"}}


def _bound(name: str, namespace: str, rules: list[Manifest], subject: Manifest) -> list[Manifest]:
    """A Role and its RoleBinding."""
    metadata = _metadata(name, namespace)
    return [
        {"apiVersion": f"{RBAC_GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{RBAC_GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    ]
