"""What a gate signs when it closes its account: which releases there were, and that there will be no more.

The gate signs it (`runtime.ledger`), the operator checks it before it returns what was not used.
"""

import json

from hanse.api.budget import Account


def statement(account_id: str, account: Account) -> bytes:
    """The canonical JSON that is signed; it holds nothing that may change while the account is being closed."""
    said = {
        "account": account_id,
        "job": account.job.to_wire(),
        "participation": account.participation,
        "planHash": account.plan_hash,
        "epoch": account.epoch,
        "releases": {key: release.digest for key, release in account.releases.items()},
        "closed": True,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
