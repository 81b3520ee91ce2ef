"""`python3 -m hanse.runtime.ledger reserve|settle|accounts|show`: what `hanse run` asks of the data owner's ledgers.

JSON in, JSON out, so that the command needs nothing of the runtime. Exit code 0, or 3 with `{"refused": why}`.

    reserve   stdin: {"directory", "second", "holder": pid, "requests": [{"population", "spec", "name", "account"}]}
              stdout: {name: {"asked", "spent", "reserved", "left", "limit"}}
    settle    stdin: {"directory", "second", "accounts": [{"population", "name"}]}
    accounts  stdin: {"directory", "second", "accounts": [{"population", "name"}]}; stdout: {name: account}
    show      stdin: {"directory", "second", "populations": [...]}; stdout: {population: numbers}
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Final

from hanse.api.budget import Account, PrivacyBudgetSpec
from hanse.dp.errors import AccountingError
from hanse.runtime.ledger import LedgerError
from hanse.runtime.ledger.admin import Process, Request, find, reserve, settle, show

REFUSED: Final = 3


def main(arguments: list[str]) -> int:
    """Run one command."""
    asked = json.load(sys.stdin)
    directory = Path(asked["directory"])
    second = Path(asked["second"]) if asked.get("second") else None
    try:
        answer = _COMMANDS[arguments[0]](asked, directory, second)
    except (LedgerError, AccountingError) as error:
        json.dump({"refused": str(error)}, sys.stdout)
        return REFUSED
    json.dump(answer, sys.stdout)
    return 0


def _reserve(asked: dict[str, Any], directory: Path, second: Path | None) -> dict[str, Any]:
    requests = [
        Request(
            population=each["population"],
            spec=PrivacyBudgetSpec.model_validate(each["spec"]),
            name=each["name"],
            account=Account.model_validate(each["account"]),
        )
        for each in asked["requests"]
    ]
    verdicts = reserve(directory, requests, Process.of(int(asked["holder"])), second)
    return {name: dataclasses.asdict(verdict) for name, verdict in verdicts.items()}


def _settle(asked: dict[str, Any], directory: Path, second: Path | None) -> dict[str, Any]:
    for each in asked["accounts"]:
        settle(directory, each["population"], each["name"], second)
    return {}


def _accounts(asked: dict[str, Any], directory: Path, second: Path | None) -> dict[str, Any]:
    found = {e["name"]: find(directory, e["population"], e["name"], second) for e in asked["accounts"]}
    return {name: account.to_wire() for name, account in found.items() if account is not None}


def _show(asked: dict[str, Any], directory: Path, second: Path | None) -> dict[str, Any]:
    return {each: show(directory, each, second) for each in asked["populations"]}


_COMMANDS: Final = {"reserve": _reserve, "settle": _settle, "accounts": _accounts, "show": _show}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
