"""docs/api-reference.md from the models: each kind's fields, conditions and the list of reasons.

Called by `hanse.dev.generate`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from hanse.api import names
from hanse.api.conditions import BudgetCondition, JobCondition, ParticipantCondition, ParticipationCondition
from hanse.api.exitcodes import PERMANENT, REASONS, ExitCode
from hanse.api.job import MUTABLE_SPEC_FIELDS
from hanse.api.rbac import GATE_ACCOUNT, GATE_TABLE, TABLE, Grant
from hanse.api.replies import REASONS as REPLY_REASONS
from hanse.dev.crds import KINDS, Kind, build_crd
from hanse.dev.schema import Schema
from hanse.dev.text import header

PATH: Final = "docs/api-reference.md"
CONDITIONS: Final[dict[str, type[StrEnum]]] = {
    "FederatedJob": JobCondition,
    "Participant": ParticipantCondition,
    "Participation": ParticipationCondition,
    "PrivacyBudget": BudgetCondition,
}
#: Bounds as a person reads them.
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} keys",
}


def reference() -> str:
    """The whole page."""
    parts = [
        f"<!-- {header()} -->",
        f"# API reference: `{names.API_VERSION}`",
        (
            "The same text is in the cluster: `kubectl explain federatedjob.spec --recursive`. "
            "Numbers that are not whole are strings. Unknown fields are refused by `kubectl apply`."
        ),
        *(part for kind in KINDS for part in _kind(kind)),
        *_exit_codes(),
        *_permissions(),
    ]
    return "\n\n".join(parts) + "\n"


def _kind(kind: Kind) -> Iterator[str]:
    schema = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield f"## {kind.kind}"
    yield f"{kind.description} Short name: `{kind.short}`."
    if kind.frozen_at_start:
        mutable = " and ".join(f"`{name}`" for name in MUTABLE_SPEC_FIELDS)
        yield f"Once `status.startTime` is set only {mutable} can be edited in `spec`."
    if kind.frozen:
        frozen = ", ".join(f"`{name}`" for name in kind.frozen)
        yield f"{frozen} in `spec` are what was asked and cannot be edited."
    for part in ("spec", "status"):
        yield f"### {kind.kind}.{part}"
        yield _table(["field", "type", "default", "meaning"], _rows(schema["properties"][part], ""))
        if rules := list(_rules(schema["properties"][part], part)):
            yield "Rules:\n\n" + "\n".join(f"- {rule}" for rule in rules)
    yield f"Conditions: {', '.join(f'`{condition.value}`' for condition in CONDITIONS[kind.kind])}."


def _rows(schema: Schema, path: str) -> Iterator[list[str]]:
    required = schema.get("required", [])
    for name, child in schema.get("properties", {}).items():
        where = f"{path}{name}"
        default = "required" if name in required else _default(child)
        yield [f"`{where}`", _type(child), default, f"{child['description']}{_bounds(child)}"]
        if child["type"] == "object":
            yield from _rows(child, f"{where}.")
        if child["type"] == "array":
            yield from _rows(child["items"], f"{where}[].")


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default is None or default == {} else f"`{str(default).lower() if default is False else default}`"


def _type(schema: Schema) -> str:
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "time"
    return {"integer": "integer", "boolean": "boolean", "string": "string"}.get(schema["type"], "object")


def _bounds(schema: Schema) -> str:
    limits = [text.format(f"{schema[key]:,}") for key, text in _BOUNDS.items() if key in schema]
    if "enum" in schema:
        limits = ["one of " + ", ".join(f"`{value}`" for value in schema["enum"])]
    return f" ({', '.join(limits)})" if limits else ""


def _rules(schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"]:
            yield f"`{path}{rule.get('fieldPath', '')}`: {rule['message'].replace('<', '&lt;')}"
    for name, child in schema.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _exit_codes() -> Iterator[str]:
    yield "## Reasons of a failed container, and exit codes"
    yield (
        "The main containers of our pods end with these codes; a permanent one is not retried. "
        "0 means that the end-of-job message arrived."
    )
    rows = [
        [str(int(code)), f"`{reason.value}`", "permanent" if ExitCode(code) in PERMANENT else "retried"]
        for code, reason in REASONS.items()
    ]
    yield _table(["code", "reason", ""], rows)
    yield "A reply that was refused or did not come, for one round (`status.rounds[].reasons`):"
    yield ", ".join(f"`{reason.value}`" for reason in REPLY_REASONS.values()) + "."


def _permissions() -> Iterator[str]:
    yield "## What the operator may do"
    yield "Generated from `operator/hanse/api/rbac.py`, as the chart's Roles are."
    yield _grants(TABLE)
    yield "## What a gate may do"
    yield (
        f"ServiceAccount `{GATE_ACCOUNT}` in an owner's namespace. Only the gate's container of a job with privacy has "
        "a token of it."
    )
    yield _grants(GATE_TABLE)


def _grants(table: tuple[Grant, ...]) -> str:
    rows: list[list[str]] = [
        [
            ", ".join(f"`{resource}`" for resource in grant.resources),
            ", ".join(grant.verbs),
            ", ".join(where.value for where in grant.where),
            grant.why,
        ]
        for grant in table
    ]
    return _table(["resources", "verbs", "namespaces", "why"], rows)


def _table(head: list[str], rows: Any) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
