"""Base model and constrained types shared by the kinds. Field names are snake_case here and camelCase on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MESSAGE_MAX = 256
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
DECIMAL_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,12})?([eE]-?[0-9]{1,2})?$"
POSITIVE_DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,12})?([eE]-?[0-9]{1,2})?$"


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire, unknown keys refused (the API server prunes them before we see them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready dict with camelCase keys, without what was not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Message = Annotated[str, Field(max_length=MESSAGE_MAX)]
#: A job's or participant's name: a DNS label of at most 40 characters, so that children's names fit.
ShortName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]
NamespaceName = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)]
ObjectName = Annotated[str, Field(pattern=SUBDOMAIN_PATTERN, max_length=253)]
#: Numbers that are not whole are strings in spec and status (Kubernetes API conventions).
Decimal = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=32)]
PositiveDecimal = Annotated[str, Field(pattern=POSITIVE_DECIMAL_PATTERN, max_length=32)]


def clip_message(text: str, limit: int = MESSAGE_MAX) -> str:
    """`text` as one line of at most `limit` characters, the cut marked."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
