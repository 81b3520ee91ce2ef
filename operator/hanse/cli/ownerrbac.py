"""`hanse owner-rbac`: what a data owner applies so that the operator may work in its namespace, with what it may do."""

from typing import Any, Final

import yaml

from hanse.api.rbac import DEFAULT_SERVICE_ACCOUNT, GATE_ACCOUNT, GATE_TABLE, Where, grants, owner_manifests

_WIDTH: Final = 110


class _Plain(yaml.SafeDumper):
    """Without anchors: the two objects share their metadata."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def manifests(namespace: str, operator_namespace: str, service_account: str = DEFAULT_SERVICE_ACCOUNT) -> str:
    """YAML to read and then apply, the reasons as comments on top."""
    lines = [f"# Admits the operator of namespace {operator_namespace} to {namespace}. What it may do there, and why:"]
    reasons = (f"#   {', '.join(g.resources)}: {', '.join(g.verbs)}: {g.why}" for g in grants(Where.PARTICIPANT))
    lines += dict.fromkeys(reasons)  # events are in two API groups
    lines.append(f"# And the account {GATE_ACCOUNT}, whose token only your own gates get, in jobs with privacy:")
    lines += [f"#   {', '.join(g.resources)}: {', '.join(g.verbs)}: {g.why}" for g in GATE_TABLE]
    lines.append(f"# Apply it with: hanse owner-rbac {namespace} | kubectl apply -f -")
    documents = owner_manifests(namespace, operator_namespace=operator_namespace, service_account=service_account)
    body = yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, explicit_start=True, width=_WIDTH)
    return "\n".join(lines) + "\n" + body
