"""Rules that span several fields, in one place for both who check them: CEL in the CRDs, Python in the models.

Models list them in `RULES`; `hanse.dev.schema` writes the CEL, pydantic runs `holds` (the operator, `hanse check`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One rule of a model. `message` names the field and the remedy; `field` is the CRD's fieldPath below the model.

    Without `cel` the CRD says it in another way (a list map's keys, for example).
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""

    def to_schema(self) -> dict[str, str]:
        """The entry of x-kubernetes-validations."""
        entry = {"rule": self.cel, "message": self.message}
        return {**entry, "fieldPath": f".{self.field}"} if self.field else entry


def between(
    field: str, attribute: str, *, low: str = "", high: str = "", open_low: bool = False, open_high: bool = False
) -> Rule:
    """A rule that an optional decimal string lies in a range; `open_low` and `open_high` leave the bound itself out."""
    parts: list[str] = []
    words: list[str] = []
    if low:
        parts.append(f"double(self.{field}) {'>' if open_low else '>='} {low}")
        words.append(f"{'greater than' if open_low else 'at least'} {low}")
    if high:
        parts.append(f"double(self.{field}) {'<' if open_high else '<='} {high}")
        words.append(f"{'less than' if open_high else 'at most'} {high}")

    def holds(model: Any) -> bool:
        text = getattr(model, attribute)
        if text is None:
            return True
        value = float(text)
        above = not low or (value > float(low) if open_low else value >= float(low))
        below = not high or (value < float(high) if open_high else value <= float(high))
        return above and below

    return Rule(
        cel=f"!has(self.{field}) || ({' && '.join(parts)})",
        message=f"{field} must be {' and '.join(words)}",
        holds=holds,
        field=field,
    )


def unique_names(field: str, attribute: str) -> Rule:
    """A rule that no two items of a list have one name; the CRD says it as x-kubernetes-list-map-keys."""
    return Rule(
        cel="",
        message=f"{field}: each name may appear once",
        holds=lambda m: len({item.name for item in getattr(m, attribute)}) == len(getattr(m, attribute)),
        field=field,
    )


def transition(field: str, cel: str, message: str) -> Rule:
    """A rule about `self` and `oldSelf`: the API server alone can check it, since a model has no past."""
    return Rule(cel=cel, message=message, holds=lambda _: True, field=field)


def unique(field: str, attribute: str) -> Rule:
    """A rule that no item of a list stands there twice; the CRD says it as a list of type set."""
    return Rule(
        cel="",
        message=f"{field}: each may appear once",
        holds=lambda m: len(set(getattr(m, attribute))) == len(getattr(m, attribute)),
        field=field,
    )
