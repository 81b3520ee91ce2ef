"""Base model and constrained types shared by the kinds. Field names are snake_case here and camelCase on the wire."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from hanse.api.rules import Rule

MESSAGE_MAX = 256
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
UID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
DECIMAL_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,12})?([eE]-?[0-9]{1,2})?$"
POSITIVE_DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,12})?([eE]-?[0-9]{1,2})?$"


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire, unknown keys refused (the API server prunes them before we see them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    #: What no single field can say; the API server checks the same rules as CEL.
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        broken = [rule.message for rule in self.RULES if not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The JSON schema with the model's rules in it, for the CRD generator."""
        result = handler(schema)
        if entries := [rule.to_schema() for rule in cls.RULES if rule.cel]:
            handler.resolve_ref_schema(result)["x-kubernetes-validations"] = entries
        return result

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready dict with camelCase keys, without what was not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


#: json_schema_extra of a list whose items are told apart by their name (type): unique, and merged by it.
MAP_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
MAP_BY_TYPE: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
UNIQUE: dict[str, Any] = {"x-kubernetes-list-type": "set"}

Message = Annotated[str, Field(max_length=MESSAGE_MAX)]
#: A job's or participant's name: a DNS label of at most 40 characters, so that children's names fit.
ShortName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]
NamespaceName = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)]
ObjectName = Annotated[str, Field(pattern=SUBDOMAIN_PATTERN, max_length=253)]
#: metadata.uid of any object: it becomes a part of names and paths.
Uid = Annotated[str, Field(pattern=UID_PATTERN, max_length=36)]
#: Numbers that are not whole are strings in spec and status (Kubernetes API conventions).
Decimal = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=32)]
PositiveDecimal = Annotated[str, Field(pattern=POSITIVE_DECIMAL_PATTERN, max_length=32)]


def clip_message(text: str, limit: int = MESSAGE_MAX) -> str:
    """`text` as one line of at most `limit` characters, the cut marked."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
