"""The generated schemas: structural, described, bounded; and what is in the repository is what would be generated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from hanse.api.meta import ApiModel
from hanse.dev import generate
from hanse.dev.crds import KINDS, Kind, build_crd
from hanse.dev.schema import Schema, SchemaError, structural_schema

ROOT = Path(__file__).resolve().parents[4]
#: What the API server itself bounds.
FORMATS_WITH_LENGTH = {"date-time"}


def walk(node: Schema, where: str) -> Iterator[tuple[str, Schema]]:
    """Each schema below `node` with its path."""
    yield where, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{where}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from walk(node[key], where + mark)


def fields(kind: Kind) -> dict[str, Schema]:
    schema = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return {where: node for where, node in walk(schema, kind.kind) if not where.endswith(".metadata")}


def is_bounded(node: Schema) -> bool:
    if node["type"] == "string":
        return bool({"maxLength", "enum"} & set(node)) or node.get("format") in FORMATS_WITH_LENGTH
    if node["type"] == "object":
        return "properties" in node or "maxProperties" in node
    return node["type"] != "array" or "maxItems" in node


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_description(kind: Kind) -> None:
    missing = [w for w, node in fields(kind).items() if not node.get("description") and not w.endswith(("[]", "{}"))]
    assert missing == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_everything_is_bounded(kind: Kind) -> None:
    unbounded = [where for where, node in fields(kind).items() if not is_bounded(node)]
    assert unbounded == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: Kind) -> None:
    forbidden = {"$ref", "anyOf", "title", "patternProperties", "propertyNames", "const", "examples"}
    assert [where for where, node in fields(kind).items() if forbidden & set(node)] == []
    assert all(node["x-kubernetes-list-type"] for node in fields(kind).values() if node["type"] == "array")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_status_has_no_defaults_and_conditions_merge_by_type(kind: Kind) -> None:
    status = {w: node for w, node in fields(kind).items() if w.startswith(f"{kind.kind}.status")}
    assert [where for where, node in status.items() if "default" in node] == []
    conditions = status[f"{kind.kind}.status.conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_rule_that_names_a_field_names_one_that_exists(kind: Kind) -> None:
    for node in fields(kind).values():
        for rule in node.get("x-kubernetes-validations", []):
            target: Any = node
            for part in filter(None, rule.get("fieldPath", "").split(".")):
                target = target["properties"][part]


def test_optional_becomes_absent_and_maps_of_keys_become_a_rule() -> None:
    class Inner(ApiModel):
        word: Literal["a"] = Field(default="a", description="A word.")

    class Outer(ApiModel):
        inner: Inner = Field(default_factory=Inner, description="Parts.")
        number: int | None = Field(default=None, ge=0, le=5, description="A number.")
        names: dict[str, str] = Field(default_factory=dict, description="Names.")

    schema = structural_schema(Outer, defaults=True)
    assert "required" not in schema
    assert schema["properties"]["inner"]["default"] == {}
    assert schema["properties"]["inner"]["properties"]["word"]["enum"] == ["a"]
    number = {"description": "A number.", "type": "integer", "format": "int32", "minimum": 0, "maximum": 5}
    assert schema["properties"]["number"] == number


def test_a_union_is_refused_by_name() -> None:
    class Loose(ApiModel):
        value: int | str = Field(description="Either.")

    with pytest.raises(SchemaError, match=r"Loose\.value: a union of 2 types"):
        structural_schema(Loose, defaults=True)


def test_generated_files_are_up_to_date() -> None:
    assert generate.differences(ROOT) == []


def test_check_names_a_stale_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate.write(tmp_path)
    assert generate.main(["--check", "--root", str(tmp_path)]) == 0
    stale = tmp_path / "crds" / KINDS[0].file_name
    stale.write_text(stale.read_text() + "\n")
    assert generate.main(["--check", "--root", str(tmp_path)]) == 1
    assert f"crds/{KINDS[0].file_name} is out of date" in capsys.readouterr().err
