"""A few calls to an API server with nothing but the standard library.

Used by the local back end and its volume provisioner. The provisioner and `up` must work from a bare Python,
and kubectl costs a third of a second of CPU for each call.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from e2e.cluster.errors import ClusterError

Json = dict[str, Any]


class ApiError(ClusterError):
    """The API server answered with an error."""

    def __init__(self, method: str, path: str, code: int, body: str) -> None:
        self.code = code
        super().__init__(f"{method} {path}: {code} {body[:500]}")


class KubeApi:
    """Calls as the user of a kubeconfig (client certificate inside). Not for use by two threads at a time."""

    def __init__(self, kubeconfig: Path, *, timeout: float = 10) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = urlsplit(cluster["server"])
        self._timeout = timeout
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pem:  # ssl loads a client certificate from a file only
            pem.write(base64.b64decode(user["client-certificate-data"]))
            pem.write(base64.b64decode(user["client-key-data"]))
            pem.flush()
            self._tls.load_cert_chain(pem.name)

    def get(self, path: str, **query: str) -> Json:
        """GET an object or a list."""
        return self._json("GET", path, None, query)

    def find(self, path: str) -> Json | None:
        """GET an object, None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, path: str, body: Json) -> Json:
        """POST an object."""
        return self._json("POST", path, body, {})

    def delete(self, path: str) -> None:
        """DELETE an object; one that is gone already is fine."""
        try:
            self._json("DELETE", path, None, {})
        except ApiError as error:
            if error.code != 404:
                raise

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply to the object's own path."""
        query = {"fieldManager": "hanse-e2e-cluster", "force": "true"}
        return self._json("PATCH", path, body, query, "application/apply-patch+yaml")

    def merge(self, path: str, body: Json) -> Json:
        """JSON merge patch."""
        return self._json("PATCH", path, body, {}, "application/merge-patch+json")

    def ready(self) -> bool:
        """Whether the server says that it is ready; False also when nobody answers."""
        try:
            return self._text("GET", "/readyz", None, {})[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def events(self, path: str, version: str, *, seconds: int = 240) -> Iterator[Json]:
        """Watch a collection from a resource version until the server ends the watch."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        connection = self._connect(seconds + 30)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            response = connection.getresponse()
            if response.status != 200:
                raise ApiError("WATCH", path, response.status, response.read().decode(errors="replace"))
            for line in response:
                yield cast(Json, json.loads(line))
        finally:
            connection.close()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the server is ready; False when it was not in time."""
        deadline = time.monotonic() + timeout
        while not self.ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        assert self._server.hostname is not None
        return http.client.HTTPSConnection(self._server.hostname, self._server.port, timeout=timeout, context=self._tls)

    def _text(
        self, method: str, path: str, body: Json | None, query: dict[str, str], content: str = "application/json"
    ) -> tuple[int, str]:
        connection = self._connect(self._timeout)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            payload = None if body is None else json.dumps(body)
            connection.request(method, target, payload, {"Content-Type": content, "Accept": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def _json(
        self, method: str, path: str, body: Json | None, query: dict[str, str], content: str = "application/json"
    ) -> Json:
        code, text = self._text(method, path, body, query, content)
        if not 200 <= code < 300:
            raise ApiError(method, path, code, text)
        return cast(Json, json.loads(text))
