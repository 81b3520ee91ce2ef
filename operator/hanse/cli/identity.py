"""`hanse identity create`: an owner makes its own identity key, instead of leaving that to the operator.

The key signs what the owner's gates release and, in encrypted jobs, stands for the owner: other owners pin its public
half. Who can read the Secret can speak for the owner; the operator's Role can, so it is a party that owners trust with
this (docs/encryption.md). It never overwrites a key: certificates and pinned plans of the old one would not fit.
"""

import base64
from pathlib import Path

import yaml

from hanse.api import names
from hanse.cli.errors import UsageError
from hanse.pki.identity import IdentityKey, identity_public_key, new_identity


def key_of(file: Path | None) -> IdentityKey:
    """A new key, or the one in a file (Ed25519, PEM). Raises UsageError."""
    if file is None:
        return new_identity()
    try:
        private = file.read_text()
        return IdentityKey(private, identity_public_key(private))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} holds no Ed25519 private key in PEM: {error}", "For example: openssl genpkey -algorithm ed25519"
        ) from error


def manifest(namespace: str, key: IdentityKey) -> str:
    """The Secret as YAML, with what to do with it on top."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": names.OWNER_IDENTITY,
            "namespace": namespace,
            "labels": {names.LABEL_ROLE: names.ROLE_IDENTITY},
        },
        # What is edited by accident would leave certificates and running jobs without their signer.
        "immutable": True,
        "data": {names.IDENTITY_FILE: base64.b64encode(key.private.encode()).decode()},
    }
    lines = [
        f"# The identity key of the owner of {namespace}. It is private: nobody else may see this.",
        f"# Create it (an existing one is kept): hanse identity create {namespace} | kubectl create -f -",
        "# Tell the other owners the public half by another way than the cluster; it is in the roster of every plan:",
        *(f"#   {line}" for line in key.public.strip().splitlines()),
    ]
    return "\n".join(lines) + "\n" + yaml.safe_dump(secret, sort_keys=False)
