"""The only door of `hanse` to an API server. lightkube is imported when a command needs it, not at start."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from hanse.api import names
from hanse.cli.errors import ClusterError
from hanse.cli.kubeconfig import load

if TYPE_CHECKING:
    from lightkube import Client

_TIMEOUT_SECONDS: Final = 15


class Cluster:
    """FederatedJobs, and the reader pod of `hanse model get`."""

    def __init__(self, client: "Client") -> None:
        from lightkube.generic_resource import create_namespaced_resource
        from lightkube.resources.core_v1 import Pod

        self._client = client
        self._pods = Pod
        self._jobs = create_namespaced_resource(names.GROUP, names.VERSION, "FederatedJob", "federatedjobs")

    @property
    def namespace(self) -> str:
        """The context's namespace."""
        return str(self._client.namespace)

    def jobs(self, namespace: str | None) -> list[dict[str, Any]]:
        """FederatedJobs of a namespace, or of all."""
        with _words("list FederatedJobs"):
            return [dict(job) for job in self._client.list(self._jobs, namespace=namespace or "*")]

    def job(self, namespace: str, name: str) -> dict[str, Any]:
        """One FederatedJob."""
        with _words(f"get FederatedJob {namespace}/{name}"):
            return dict(self._client.get(self._jobs, name, namespace=namespace))

    def create_pod(self, pod: dict[str, Any]) -> None:
        """Create a pod from its manifest."""
        from lightkube.codecs import from_dict

        with _words(f"create pod {pod['metadata']['name']}"):
            self._client.create(from_dict(pod))

    def pod_status(self, namespace: str, name: str) -> dict[str, Any]:
        """Status of a pod, as on the wire."""
        with _words(f"get pod {namespace}/{name}"):
            status = self._client.get(self._pods, name, namespace=namespace).status
            return dict(status.to_dict()) if status is not None else {}

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once; one that is gone is fine."""
        from lightkube import ApiError

        with _words(f"delete pod {namespace}/{name}"):
            try:
                self._client.delete(self._pods, name, namespace=namespace, grace_period=0)
            except ApiError as error:
                if error.status.code != 404:
                    raise

    def run_in_pod(self, namespace: str, name: str, command: Sequence[str], stdout: BinaryIO, stderr: BinaryIO) -> int:
        """Run a command in a pod (as kubectl exec), its output streamed; the exit code."""
        with _words(f"exec in pod {namespace}/{name}"):
            done = self._client.exec(
                name, namespace=namespace, command=list(command), stdout=stdout, stderr=stderr, decode=None
            )
            return int(done.exit_code)


@contextmanager
def _words(what: str) -> Iterator[None]:
    """Errors of lightkube and its HTTP client as one line with the next step."""
    import httpx2
    from lightkube import ApiError, ConfigError

    try:
        yield
    except ConfigError as error:  # a credential plugin that failed
        raise ClusterError(f"cannot {what}: {error}", "Check the user in the kubeconfig.") from error
    except ApiError as error:
        code = error.status.code
        steps = {
            401: "Log in again: the credentials of the kubeconfig are refused.",
            403: "Ask for that permission, or use another context (--context).",
            404: "Check the name and the namespace (-n); are the CRDs installed? (helm install)",
        }
        raise ClusterError(f"cannot {what}: {error.status.message}", steps.get(code or 0, "")) from error
    except httpx2.HTTPError as error:
        raise ClusterError(
            f"cannot {what}: the API server does not answer ({type(error).__name__}: {error})",
            "Check KUBECONFIG and that the cluster is up.",
        ) from error


@contextmanager
def connect(context: str | None = None) -> Iterator[Cluster]:
    """A cluster from KUBECONFIG (or ~/.kube/config, or the pod's service account)."""
    import httpx2
    from lightkube import Client

    config = load(context)
    with Client(config=config, timeout=httpx2.Timeout(_TIMEOUT_SECONDS)) as client:
        yield Cluster(client)
