"""The Control API in our words: register nodes, start, watch and stop runs. Used by the launcher over loopback."""

import hashlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.supercore.fab import Fab

from hanse.api.runconfig import ServerParticipant
from hanse.runtime.flower.fab import placeholder_fab
from hanse.runtime.flower.link import LinkAddress, LinkError, control_client, translate

_FINISHED = "finished"


class Control:
    """Client of one SuperLink's Control API."""

    def __init__(self, address: LinkAddress, give_up: Callable[[], bool] = lambda: False) -> None:
        """`give_up` is asked between the tries to reach a SuperLink that is away."""
        self._client = control_client(address, give_up)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def register(self, participants: Sequence[ServerParticipant]) -> dict[int, int]:
        """Register the participants' public keys; node ids by participant index. Repeating it changes nothing."""
        known = self.node_ids()
        for participant in participants:
            key = normal_key(participant.public_key)
            if key not in known:
                known[key] = self._register(key, participant.name)
        return {p.index: known[normal_key(p.public_key)] for p in participants}

    def _register(self, key: bytes, name: str) -> int:
        try:
            return self._client.RegisterNode(RegisterNodeRequest(public_key=key, name=name)).node_id
        except httpx.HTTPStatusError as error:
            raise LinkError(f"public key of {name} refused: {error.response.text[:200]}") from error
        except httpx.HTTPError as error:
            raise translate(error) from error

    def node_ids(self) -> dict[bytes, int]:
        """Node ids of all registered nodes, by public key."""
        try:
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        except httpx.HTTPError as error:
            raise translate(error) from error
        return {bytes(node.public_key): node.node_id for node in nodes if node.status != "unregistered"}

    def start(self) -> int:
        """Start a Flower run and return its id."""
        content = placeholder_fab()
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        try:
            response = self._client.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
        except httpx.HTTPError as error:
            raise translate(error) from error
        if not response.run_id:
            raise LinkError("the SuperLink did not start the run")
        return response.run_id

    def stop(self, run_id: int) -> None:
        """Stop a run; one that has ended already is left alone."""
        try:
            self._client.StopRun(StopRunRequest(run_id=run_id))
        except httpx.HTTPStatusError as error:
            if error.response.status_code >= 500:
                raise translate(error) from error
        except httpx.HTTPError as error:
            raise translate(error) from error

    def is_finished(self, run_id: int) -> bool:
        """Whether the SuperLink holds the run for over."""
        try:
            runs = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict
        except httpx.HTTPError as error:
            raise translate(error) from error
        return run_id not in runs or runs[run_id].status.status == _FINISHED


def normal_key(pem: str) -> bytes:
    """The key as Flower's SuperNode sends it: PEM with a newline at the end."""
    return (pem.strip() + "\n").encode()
