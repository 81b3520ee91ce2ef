"""The owner's identity key of `hanse run`: beside the owner's ledgers, made once. On a cluster it is a Secret."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from hanse.pki.identity import identity_public_key, new_identity

PRIVATE: Final = "identity.key"
PUBLIC: Final = "identity.pub"


def owner_identity(ledger: Path) -> str:
    """The private key (PEM) of the owner whose ledgers are in this directory. Raises OSError."""
    ledger.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = ledger / PRIVATE
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=ledger, prefix=".identity-") as file:  # readable by us alone
            file.write(new_identity().private)
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):  # another run was first: its key is the owner's
                os.link(file.name, path)
    private = path.read_text()
    (ledger / PUBLIC).write_text(identity_public_key(private))
    return private
