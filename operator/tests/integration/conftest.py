"""A real kube-apiserver with our CRDs for all integration tests, and a fresh namespace for each test that asks."""

import base64
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from e2e.cluster import apiserver as servers
from e2e.cluster import binaries
from e2e.cluster.apiserver import ApiServer
from e2e.cluster.kubeapi import KubeApi

ROOT = Path(__file__).resolve().parents[3]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]

_numbers = count(1)


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """The server, with the CRDs of crds/ established."""
    with servers.running() as server:
        install_crds(server)
        yield server


def install_crds(server: ApiServer) -> None:
    """Those of crds/, until they are served."""
    kubectl = str(binaries.ensure(["kubectl"])["kubectl"])
    base = [kubectl, f"--kubeconfig={server.kubeconfig}"]
    # Server-side: a client-side apply would have to keep each CRD in an annotation.
    subprocess.run([*base, "apply", "--server-side", "-f", str(ROOT / "crds")], check=True, capture_output=True)
    subprocess.run(
        [*base, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def kube(apiserver: ApiServer) -> KubeApi:
    """Calls as an administrator."""
    return KubeApi(apiserver.kubeconfig, timeout=30)


@pytest.fixture(scope="session")
def http(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Plain HTTP as an administrator, for tests that read the whole answer of the API server."""
    config = json.loads(apiserver.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    tls.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by default: the test server must pass it
    pem = tmp_path_factory.mktemp("http") / "client.pem"
    pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    tls.load_cert_chain(pem)
    with httpx.Client(base_url=cluster["server"], verify=tls, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def namespace(kube: KubeApi) -> str:
    """A namespace of the test's own. There is no namespace controller, so nothing would remove it."""
    name = f"test-{next(_numbers)}"
    kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def kubectl(apiserver: ApiServer, tmp_path: Path) -> Kubectl:
    """Run kubectl as an administrator: `kubectl("get", "fj")`; `stdin` is written as JSON unless it is text."""
    binary = str(binaries.ensure(["kubectl"])["kubectl"])

    def run(*arguments: str, stdin: object = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        result = subprocess.run(
            [binary, f"--kubeconfig={apiserver.kubeconfig}", f"--cache-dir={tmp_path}", *arguments],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    return run
