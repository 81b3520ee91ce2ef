"""`Door` over lightkube's generic resources: plain dicts in and out, refusals as `hanse.controller.errors`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import httpx2
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import (
    create_global_resource,
    create_namespaced_resource,
)
from lightkube.types import CascadeType, PatchType

from hanse.api import names
from hanse.controller import errors
from hanse.controller.door import Json
from hanse.controller.kinds import BY_NAME, Kind
from hanse.controller.tls import as_client_go

_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
_CHUNK: Final = 500


class Cluster:
    """One API server, reached with the pod's service account or `KUBECONFIG`."""

    def __init__(self, config: KubeConfig | None = None) -> None:
        single = (config or KubeConfig.from_env()).get()
        assert single is not None  # `get` without a name raises when there is no current context
        assert single.user is not None
        context = as_client_go(verify_cluster(single.cluster, single.user, single.abs_file, trust_env=False))
        self._client = AsyncClient(
            single,
            timeout=_TIMEOUT,
            field_manager=names.FIELD_MANAGER,
            trust_env=False,
            transport=httpx2.AsyncHTTPTransport(verify=context, trust_env=False),
        )
        # lightkube's overloads of `create` want a typed class; ours are made at run time.
        self._untyped: Any = self._client

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        try:
            async with _problems(kind.kind, namespace, name):
                return dict(await self._client.get(_resource(kind), name, namespace=namespace))
        except errors.Gone:
            return None

    async def list(self, kind: Kind, namespace: str | None) -> list[Json]:
        async with _problems(kind.kind, namespace or "", ""):
            found = self._client.list(
                _resource(kind),
                namespace="*" if namespace is None else namespace,
                chunk_size=_CHUNK,
                labels=_labels(kind.selector),
            )
            # Items of a list carry no kind of their own.
            return [{**item, "kind": kind.kind, "apiVersion": kind.api_version} async for item in found]

    async def create(self, manifest: Json) -> Json | None:
        kind, namespace, name = _identity(manifest)
        try:
            async with _problems(kind.kind, namespace, name):
                return dict(await self._untyped.create(_resource(kind)(manifest), namespace=namespace))
        except errors.Conflict:
            return None

    async def apply(self, manifest: Json) -> Json:
        kind, namespace, name = _identity(manifest)
        async with _problems(kind.kind, namespace, name):
            return dict(
                await self._client.patch(
                    _resource(kind), name, manifest, namespace=namespace, patch_type=PatchType.APPLY, force=True
                )
            )

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json:
        async with _problems(kind.kind, namespace, name):
            return dict(
                await self._client.patch(_resource(kind), name, patch, namespace=namespace, patch_type=PatchType.MERGE)
            )

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        try:
            async with _problems(kind.kind, namespace, name):
                await self._client.delete(_resource(kind), name, namespace=namespace, cascade=CascadeType.BACKGROUND)
        except errors.Gone:
            return

    async def apply_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": resource_version},
            "status": status,
        }
        async with _problems(kind.kind, namespace, name):
            return dict(
                await self._client.patch(
                    _resource(kind).Status,
                    name,
                    manifest,
                    namespace=namespace,
                    patch_type=PatchType.APPLY,
                    force=True,
                )
            )

    async def replace_status(self, kind: Kind, namespace: str, name: str, resource_version: str, status: Json) -> Json:
        # An apply would leave behind what others own of a part that is to go.
        operations = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]
        async with _problems(kind.kind, namespace, name):
            return dict(
                await self._client.patch(
                    _resource(kind).Status, name, operations, namespace=namespace, patch_type=PatchType.JSON
                )
            )

    async def review_token(self, token: str, audience: str) -> Json:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": token, "audiences": [audience]},
        }
        async with _problems("TokenReview", "", ""):
            answer: Any = await self._client.create(_token_review()(review))
            return dict(answer.get("status") or {})


@cache
def _resource(kind: Kind) -> Any:
    # Any: lightkube's overloads do not know that its generic resources are made from dicts.
    return create_namespaced_resource(kind.group, kind.version, kind.kind, kind.plural)


@cache
def _token_review() -> Any:
    return create_global_resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", verbs=["post"])


def _identity(manifest: Json) -> tuple[Kind, str, str]:
    metadata = manifest["metadata"]
    return BY_NAME[manifest["kind"]], metadata.get("namespace", ""), metadata.get("name", "")


def _labels(selector: str) -> dict[str, Any] | None:
    return dict(part.split("=", 1) for part in selector.split(",")) if selector else None


@asynccontextmanager
async def _problems(kind: str, namespace: str, name: str) -> AsyncIterator[None]:
    """Turn what lightkube raises into one of our errors."""
    try:
        yield
    except ApiError as error:
        text = (error.status.message or str(error)) if error.status else str(error)
        made = _by_code(error.status.code if error.status else None)
        raise made(text, kind=kind, namespace=namespace, name=name) from error
    except httpx2.HTTPStatusError as error:
        made = _by_code(error.response.status_code)
        raise made(str(error), kind=kind, namespace=namespace, name=name) from error
    except httpx2.HTTPError as error:
        raise errors.ApiProblem(f"API server: {error!r}", kind=kind, namespace=namespace, name=name) from error


def _by_code(code: int | None) -> type[errors.ApiProblem]:
    match code:
        case 403:
            return errors.Denied
        case 404:
            return errors.Gone
        case 409:
            return errors.Conflict
        case 400 | 422:
            return errors.Invalid
        case _:
            return errors.ApiProblem
