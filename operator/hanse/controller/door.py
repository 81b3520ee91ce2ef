"""What the operator asks of an API server, as a Protocol.

`cluster.Cluster` is the real one, tests bring one in memory; one contract test runs on both.
"""

from typing import Any, Protocol

from hanse.controller.kinds import Kind

Json = dict[str, Any]


class Door(Protocol):
    """Every call raises `ApiProblem` (see `errors`) when the API server does not do it."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, None when there is none."""
        ...

    async def list(self, kind: Kind, namespace: str | None) -> list[Json]:
        """All objects that match the kind's selector; `None` is all namespaces."""
        ...

    async def create(self, manifest: Json) -> Json | None:
        """Create; None when one of that name exists."""
        ...

    async def apply(self, manifest: Json) -> Json:
        """Server-side apply as our field manager, taking over fields that others set."""
        ...

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json:
        """JSON merge patch."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete in the background; an object that is gone is fine."""
        ...

    async def apply_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        """Apply the whole status to this version of the object.

        Raises:
            Conflict: when the object is no longer at this version.
        """
        ...

    async def replace_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        """Write the whole status over this version of the object, whoever wrote the parts of it.

        Raises:
            Conflict: when the object is no longer at this version.
            Invalid: when the API server's rules do not allow the change.
        """
        ...

    async def review_token(self, token: str, audience: str) -> Json:
        """The status of a TokenReview."""
        ...
