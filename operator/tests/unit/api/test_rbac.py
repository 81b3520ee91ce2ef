"""The operator's permissions: least privilege, and the RoleBinding that an owner applies."""

import pytest

from hanse.api.rbac import GATE_TABLE, TABLE, Grant, Where, gate_rules, grants, owner_manifests, policy_rules

VERBS = {"get", "list", "watch", "create", "patch", "update", "delete"}


@pytest.mark.parametrize("grant", TABLE + GATE_TABLE, ids=lambda grant: f"{grant.group}/{grant.resources[0]}")
def test_no_wildcard_and_known_verbs(grant: Grant) -> None:
    assert "*" not in (grant.group, *grant.resources, *grant.verbs)
    assert set(grant.verbs) <= VERBS
    assert grant.where
    assert grant.why


def test_secrets_are_never_listed_or_watched() -> None:
    for grant in TABLE:
        if "secrets" in grant.resources:
            assert set(grant.verbs) == {"get", "create", "patch", "delete"}


def test_pods_are_only_read_and_never_entered() -> None:
    resources = {resource for grant in TABLE for resource in grant.resources}
    assert not resources & {"pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/ephemeralcontainers"}
    assert {v for g in TABLE if "pods" in g.resources for v in g.verbs} == {"get", "list", "watch"}


def test_only_token_reviews_are_cluster_scoped() -> None:
    assert [grant.resources for grant in grants(Where.CLUSTER)] == [("tokenreviews",)]


def test_jobs_are_only_read_in_a_participants_namespace() -> None:
    # The operator watches the same kinds in every namespace that it serves; an owner's namespace holds no jobs.
    verbs = {v for r in policy_rules(Where.PARTICIPANT) if "federatedjobs" in r["resources"] for v in r["verbs"]}
    assert verbs == {"get", "list", "watch"}


def test_an_owner_admits_the_operator() -> None:
    role, binding, *_ = owner_manifests("bank-a", operator_namespace="hanse-system")
    assert role["metadata"] == binding["metadata"]
    assert role["metadata"]["namespace"] == "bank-a"
    assert role["rules"] == policy_rules(Where.PARTICIPANT)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    subject = {"kind": "ServiceAccount", "name": "hanse-operator", "namespace": "hanse-system"}
    assert binding["subjects"] == [subject]


def test_a_gate_reads_and_pays_and_nothing_else() -> None:
    account, role, binding = owner_manifests("bank-a", operator_namespace="hanse-system")[2:]
    assert account["automountServiceAccountToken"] is False
    assert role["rules"] == gate_rules()
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "hanse-gate", "namespace": "bank-a"}]
    assert account["metadata"]["name"] == role["metadata"]["name"] == binding["roleRef"]["name"] == "hanse-gate"
    resources = {resource for grant in GATE_TABLE for resource in grant.resources}
    assert resources == {"privacybudgets", "privacybudgets/status", "configmaps"}
    assert "delete" not in {verb for grant in GATE_TABLE for verb in grant.verbs}
