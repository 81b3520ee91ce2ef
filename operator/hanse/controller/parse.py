"""What the API server sends, as the models and values that we work with: specs, statuses, values of Secrets."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from hanse.api.meta import ApiModel, clip_message
from hanse.pki import certificates

ModelT = TypeVar("ModelT", bound=ApiModel)


def expiry(secret: Mapping[str, Any]) -> datetime:
    """When the certificate in a Secret ends."""
    try:
        return certificates.not_after(decode(secret, "tls.crt"))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)  # whose Secret it is may write anything into it


def decode(secret: Mapping[str, Any], key: str) -> str:
    """One value of a Secret as text."""
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()


def parse_model(model: type[ModelT], content: Mapping[str, Any]) -> tuple[ModelT | None, str]:
    """A spec as its model, or None and what is wrong with it."""
    try:
        return model.model_validate(content), ""
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, clip_message(f"{where}: {first['msg']}" if where else str(first["msg"]))


def parse_status(model: type[ModelT], content: Mapping[str, Any]) -> ModelT:
    """A status as its model; one that an older version wrote otherwise counts as none."""
    found, _ = parse_model(model, content)
    return found if found is not None else model()
