"""Structural OpenAPI schemas (apiextensions/v1) from pydantic models. Used by `hanse.dev.crds`.

A structural schema has no $ref, no anyOf with null, no title, and allows no patternProperties: optional is absent from
`required`, and what a map's keys must look like becomes a CEL rule.
"""

from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_INT32_MAX: Final = 2**31 - 1
_KEPT: Final = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)


class SchemaError(Exception):
    """A model cannot be said in a structural schema; the message names the place."""


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """The schema of `model`; `defaults` is False for status, which nobody fills in for its writer."""
    source = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(source.get("$defs", {}), defaults).convert(source, model.__name__)


class _Converter:
    def __init__(self, definitions: dict[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, node: Schema, where: str) -> Schema:
        node = self._resolve(node, where)
        result: Schema = {}
        if "description" in node:
            result["description"] = _one_line(node["description"])
        if self._defaults and node.get("default") not in (None, "", [], {}):
            result["default"] = node["default"]
        result |= {key: node[key] for key in _KEPT if key in node}
        kind = node.get("type")
        if kind == "integer":
            bounded = abs(node.get("maximum", _INT32_MAX + 1)) <= _INT32_MAX
            result["format"] = "int32" if bounded else "int64"
        elif kind == "array":
            result.setdefault("x-kubernetes-list-type", "atomic")
            result["items"] = self.convert(node["items"], f"{where}[]")
        elif kind == "object":
            result |= self._object(node, where)
        elif kind not in ("string", "boolean"):
            raise SchemaError(f"{where}: type {kind!r} has no structural schema")
        return result

    def _object(self, node: Schema, where: str) -> Schema:
        if "properties" in node:
            required = node.get("required", [])
            properties = {
                name: self._property(child, name in required, f"{where}.{name}")
                for name, child in node["properties"].items()
            }
            return {"properties": properties} | ({"required": required} if required else {})
        result: Schema = {}
        rules = list(node.get("x-kubernetes-validations", []))
        if patterns := node.get("patternProperties"):
            ((pattern, values),) = patterns.items()
            rules.append(
                {"rule": f"self.all(key, key.matches({_quoted(pattern)}))", "message": f"keys must match {pattern}"}
            )
        else:
            values = node["additionalProperties"]
            if limit := node.get("propertyNames", {}).get("maxLength"):
                rules.append(
                    {"rule": f"self.all(key, size(key) <= {limit})", "message": f"keys have at most {limit} characters"}
                )
        result["additionalProperties"] = self.convert(values, f"{where}{{}}")
        return result | ({"x-kubernetes-validations": rules} if rules else {})

    def _property(self, node: Schema, required: bool, where: str) -> Schema:
        result = self.convert(node, where)
        optional_model = not required and "anyOf" not in node and "properties" in result
        if self._defaults and optional_model and "required" not in result:
            # The parts' own defaults apply only where the whole is there.
            result = {"description": result.get("description", ""), "default": {}} | result
        return result

    def _resolve(self, node: Schema, where: str) -> Schema:
        """`node` without $ref and without the null branch; what stands beside them wins."""
        while "$ref" in node or "anyOf" in node:
            rest = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
            if "$ref" in node:
                target = self._definitions[node["$ref"].rsplit("/", 1)[-1]]
            else:
                branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
                if len(branches) != 1:
                    raise SchemaError(f"{where}: a union of {len(branches)} types has no structural schema")
                target = branches[0]
            rules = [*target.get("x-kubernetes-validations", []), *rest.get("x-kubernetes-validations", [])]
            node = target | rest | ({"x-kubernetes-validations": rules} if rules else {})
        if "const" in node:
            node = {**node, "enum": [node["const"]]}
        return node


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(pattern: str) -> str:
    """A CEL raw string."""
    if "'" in pattern:
        raise SchemaError(f"pattern {pattern} holds a quote")
    return f"r'{pattern}'"
