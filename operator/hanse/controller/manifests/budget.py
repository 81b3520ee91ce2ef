"""What a PrivacyBudget leaves in ConfigMaps: copies of its cost, and the pages of its ledger. Owned by nothing.

They outlive the PrivacyBudget, on purpose. Built by `reconcile.budget`.
"""

import hashlib
import json
from typing import Any, Final

from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetStatus
from hanse.controller.manifests.common import Manifest, encoded
from hanse.controller.reconcile.mirror import KEY
from hanse.controller.reconcile.model import Mirror
from hanse.controller.views import Meta
from hanse.dp.book import account_spent, stored

ROLE_BUDGET: Final = "budget"
ROLE_PAGE: Final = "ledger-page"
PAGE_KEY: Final = "page.json"
GENESIS: Final = "sha256:" + "0" * 64


def build_mirror(budget: Meta, namespace: str, name: str, mirror: Mirror, resource_version: str) -> Manifest:
    """A copy; with a resourceVersion it replaces that version of it alone."""
    content = {
        "budget": {"namespace": budget.namespace, "name": budget.name},
        "uid": mirror.uid,
        "pages": mirror.pages,
        "folded": stored(mirror.folded),
        "worst": stored(mirror.worst),
        "entries": mirror.entries,
        "chainHead": mirror.chain_head,
        "datasets": dict(mirror.datasets),
        "unit": mirror.unit,
    }
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": _labels(ROLE_BUDGET)}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {KEY: json.dumps(content, sort_keys=True, indent=1)},
    }


def build_page(budget: Meta, status: PrivacyBudgetStatus, account_id: str, account: Account) -> tuple[str, Manifest]:
    """The page of a closed account, and its hash. Equal accounts after equal pages give equal pages."""
    content = {
        "budget": {"namespace": budget.namespace, "name": budget.name, "uid": budget.uid},
        "page": status.pages + 1,
        "previous": status.chain_head or GENESIS,
        "account": account_id,
        **account.to_wire(),
        "spent": stored(account_spent(account)),
    }
    del content["leaseUntil"]
    text = json.dumps(content, sort_keys=True, indent=1)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    name = names.ledger_page_name(budget.name, digest)
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": budget.namespace, "labels": _labels(ROLE_PAGE)},
        "immutable": True,
        "data": {PAGE_KEY: text},
    }
    return digest, manifest


def build_owner_identity(namespace: str, key: str) -> Manifest:
    """The owner's identity key: mounted into gates alone."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": names.OWNER_IDENTITY, "namespace": namespace, "labels": _labels(names.ROLE_IDENTITY)},
        "data": encoded({names.IDENTITY_FILE: key}),
    }


def _labels(role: str) -> dict[str, str]:
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_ROLE: role}
