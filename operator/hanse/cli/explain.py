"""Validation errors of the api models in words: which field, what is wrong, what to do. `manifests` calls it."""

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hanse.api import meta
from hanse.cli.yamlfiles import Location

_PATTERNS = {
    meta.NAME_PATTERN: "must be lower-case letters, digits and '-', at most 40, beginning and ending with one of the "
    "first two",
    meta.LABEL_PATTERN: "must be lower-case letters, digits and '-', at most 63, beginning and ending with one of the "
    "first two",
    meta.SUBDOMAIN_PATTERN: "must be lower-case letters, digits, '-' and '.'",
    meta.DECIMAL_PATTERN: 'must be a decimal number in quotes, for example "0.78"',
    meta.POSITIVE_DECIMAL_PATTERN: 'must be a decimal number of at least 0 in quotes, for example "0.01"',
    meta.LABEL_KEY_PATTERN: "must be a label key, for example example.com/pool",
    meta.LABEL_VALUE_PATTERN: "must be a label value: letters, digits, '-', '_' and '.', at most 63",
    r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$": "must be a size, for example 1Gi",
    r"^[^/].*$": "must be a path relative to the volume, without a leading /",
    r"^[^\s]+$": "must not hold blanks",
    r"^[A-Za-z0-9_.*?/-]+$": "must be the name of an array, with * and ? as wildcards",
}


def path_text(location: Location) -> str:
    """`("spec", "participants", 2, "dataset")` as `spec.participants[2].dataset`."""
    text = ""
    for key in location:
        if key == "[key]":
            continue
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def explain(error: ErrorDetails, model: type[BaseModel]) -> list[tuple[Location, str, str]]:
    """(where, what is wrong, the next step) of one error found in a value of `model`; several for broken rules."""
    location = tuple(error["loc"])
    if error["type"] == "value_error":
        return [(location + place, message, "") for place, message in _broken_rules(error, _model_at(model, location))]
    message, next_step = _explain_field(error, model, location)
    return [(location, message, next_step)]


def _broken_rules(error: ErrorDetails, model: type[BaseModel] | None) -> list[tuple[Location, str]]:
    """The model's rules that the error names, each with its field; their messages hold the remedy."""
    text = error["msg"].removeprefix("Value error, ")
    rules = model.RULES if model is not None and issubclass(model, meta.ApiModel) else ()
    found: list[tuple[Location, str]] = [((r.field,) if r.field else (), r.message) for r in rules if r.message in text]
    return found or [((), text)]


def _explain_field(error: ErrorDetails, model: type[BaseModel], location: Location) -> tuple[str, str]:
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return "is required", _described("Add it", model, location)
    if kind == "extra_forbidden":
        return "is not a field", _nearest(str(location[-1]), _fields(_model_at(model, location[:-1])))
    if kind == "literal_error":
        allowed = [str(v) for v in _choices(model, location)]
        return f"must be {_one_of(allowed, str(context.get('expected')))}, not {_shown(given)}", _nearest(
            str(given), allowed
        )
    message = _message(kind, context, given)
    if message is None:
        return f"{error['msg']} (given: {_shown(given)})", _described("It is", model, location)
    return message, _next_step(kind, given, model, location)


def _next_step(kind: str, given: Any, model: type[BaseModel], location: Location) -> str:
    if kind == "string_type" and isinstance(given, int | float):
        text = str(given).lower() if isinstance(given, bool) else str(given)
        return f'Put it in quotes: "{text}".'
    if location and location[-1] == "[key]":
        return "Rename the key."
    return _described("It is", model, location)


def _message(kind: str, context: Mapping[str, Any], given: Any) -> str | None:
    limits = {
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "string_too_short": "must have at least {min_length} characters",
        "string_too_long": "must have at most {max_length} characters",
        "too_short": "must have at least {min_length} entries",
        "too_long": "must have at most {max_length} entries",
    }
    types_ = {
        "string_type": "must be a string",
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "bool_type": "must be true or false",
        "list_type": "must be a list",
        "dict_type": "must be a mapping",
        "model_type": "must be a mapping",
        "model_attributes_type": "must be a mapping",
    }
    if kind in ("string_too_long", "too_long", "too_short"):
        size = context.get("actual_length") or (len(given) if hasattr(given, "__len__") else "?")
        return f"{limits[kind].format(**context)}, not {size}"
    if kind in limits:
        return f"{limits[kind].format(**context)}, not {_shown(given)}"
    if kind == "string_pattern_mismatch":
        rule = _PATTERNS.get(str(context.get("pattern")), f"must match {context.get('pattern')}")
        return f"{rule}, not {_shown(given)}"
    if kind in types_:
        return f"{types_[kind]}, not {_shown(given)}"
    return None


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(allowed: list[str], otherwise: str) -> str:
    return f"one of {', '.join(allowed)}" if allowed else otherwise


def _nearest(word: str, known: list[str]) -> str:
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower().replace("_", ""), lower, n=1)
    if close:
        return f"Did you mean {lower[close[0]]}?"
    return f"Possible here: {', '.join(known)}." if known else ""


def _described(lead: str, model: type[BaseModel], location: Location) -> str:
    field = _field_at(model, location)
    return f"{lead}: {field.description}" if field is not None and field.description else ""


def _fields(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _unwrap(annotation: Any) -> Any:
    """The annotation without Optional and Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrap(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        return _unwrap(inner[0]) if len(inner) == 1 else annotation
    return annotation


def _field_at(model: type[BaseModel], location: Location) -> FieldInfo | None:
    """The field that `location` ends in, or that holds the list or mapping in which it ends."""
    field: FieldInfo | None = None
    current: Any = model
    for key in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = next((f for n, f in current.model_fields.items() if key in (f.alias, n)), None)
            if field is None:
                return None
            current = _unwrap(field.annotation)
        elif get_origin(current) in (list, dict):
            current = _unwrap(get_args(current)[-1])
    return field


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    current: Any = model
    for key in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = _field_at(current, (key,))
            current = _unwrap(field.annotation) if field else None
        elif get_origin(current) in (list, dict):
            current = _unwrap(get_args(current)[-1])
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _choices(model: type[BaseModel], location: Location) -> tuple[Any, ...]:
    field = _field_at(model, location)
    return get_args(_unwrap(field.annotation)) if field else ()
