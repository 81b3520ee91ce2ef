"""The gate's connection to the SuperLink's fleet API, over mutual TLS with the node key. Used by hanse.runtime.gate.

Flower's own SuperNode connection retries for ever, answers a 401 with SIGINT to its process, knows no client
certificate and exits where it should raise: here each call is made once and every failure is an error of this tree.
"""

import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx
from flwr.app import Error, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.common.serde_utils import metadata_from_proto, metadata_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import bytes_to_private_key, public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from hanse.api.paths import Paths
from hanse.runtime.flower import wire_inline

#: What the SuperLink is told; it takes a node for offline after twice this. Flower's default of 30 s is a minute.
HEARTBEAT_INTERVAL: Final = 20.0
CALL_TIMEOUT: Final = 20.0
#: Objects of one message in transfer at a time: the SuperLink has two cores at best.
TRANSFERS: Final = 3
_AWAY: Final = frozenset({408, 429, 500, 502, 503, 504})

T = TypeVar("T")


class FleetError(Exception):
    """Base of what can go wrong between gate and server."""


class ServerAway(FleetError):
    """Temporary: no answer, or the proxy's answer that nobody is behind it."""


class NodeUnknown(FleetError):
    """The server does not know this node (any more): activate again; if that says so too, the key is not registered."""


class RunOver(FleetError):
    """The Flower run of the message has ended: nobody waits for the reply."""


class FleetRefused(FleetError):
    """The server refuses the request; repeating it changes nothing."""


@dataclass
class Letter:
    """A message that the server has handed out; its objects are fetched apart, and kept when that is interrupted."""

    message: Message
    tree: ObjectTree
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    def origin(self) -> bytes:
        """Flower's metadata: all that an answer needs, also after a restart."""
        origin: bytes = metadata_to_proto(self.message.metadata).SerializeToString()
        return origin

    @property
    def message_type(self) -> str:
        return self.message.metadata.message_type

    @property
    def message_id(self) -> str:
        return self.message.metadata.message_id

    def seconds_left(self, now: float) -> float:
        """Until nobody waits for the reply any more. A sender's clock that is ahead of ours counts as now."""
        sent = self.message.metadata
        return sent.ttl - max(0.0, now - sent.created_at)


@dataclass(frozen=True)
class Outgoing:
    """An answer, ready to be sent, as often as it takes."""

    announcement: ProtoMessage
    tree: ObjectTree
    objects: dict[str, InflatableObject]
    seconds: float


class _VersionHeaders:
    """Flower's runtime version headers, without its exit of the process on a mismatch."""

    def __init__(self) -> None:
        self._headers = dict(RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata())

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers.update(self._headers)
        return call_next(context)


def client_tls(paths: Paths) -> ssl.SSLContext:
    """TLS that trusts the job's CA alone and shows the participant's certificate."""
    context = ssl.create_default_context(cafile=str(paths.tls / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate = paths.tls / "tls.crt"
    # `hanse run` has no front that asks for a certificate; a front refuses a gate that has none.
    if certificate.exists():
        context.load_cert_chain(certificate, paths.tls / "tls.key")
    return context


class FleetLink:
    """One node's calls. Thread-safe, as httpx is: the heartbeat runs beside the rest."""

    def __init__(self, address: str, tls: ssl.SSLContext, node_key: bytes) -> None:
        private = bytes_to_private_key(node_key)
        self._public_key = public_key_to_bytes(private.public_key())
        self._client = FleetHttpClient(
            f"https://{address}",
            interceptors=[_VersionHeaders(), NodeAuthHttpInterceptor(private, private.public_key())],
            verify=tls,
            timeout=CALL_TIMEOUT,
        )
        self._node: Node | None = None
        self._pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        self._peer_encloses = False

    @classmethod
    def open(cls, address: str, paths: Paths) -> "FleetLink":
        """A link with the key and certificates of `paths.tls`."""
        return cls(address, client_tls(paths), (paths.tls / "node.key").read_bytes())

    def activate(self) -> int:
        """Come online, also in the place of a killed process with this key (`link_recover`). Returns the node id."""
        request = ActivateNodeRequest(public_key=self._public_key, heartbeat_interval=HEARTBEAT_INTERVAL)
        node_id = _once(lambda: self._client.ActivateNode(request)).node_id
        self._node = Node(node_id=node_id)
        return node_id

    def heartbeat(self) -> None:
        """Stay online. Raises NodeUnknown when it takes an activation."""
        request = SendNodeHeartbeatRequest(node=self._active(), heartbeat_interval=HEARTBEAT_INTERVAL)
        if not _once(lambda: self._client.SendNodeHeartbeat(request)).success:
            raise NodeUnknown("the server does not recognise the node's heartbeat")

    def deactivate(self) -> None:
        """Go offline, at once instead of after missed heartbeats."""
        node, self._node = self._node, None
        if node is not None:
            _once(lambda: self._client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id)))

    def pull(self, taken: str = "") -> Letter | None:
        """The next message for this node, without its objects. Our SuperLink holds an empty answer back for a while.

        `taken` is the id of the message that was pulled last, or a word of `wire_taken`: what was delivered to the node
        beside it never arrived. Whoever says it has nothing in its hands.
        """
        request = PullMessagesRequest(node=self._active(), message_ids=[taken] if taken else [])
        response = _once(lambda: self._client.PullMessages(request))
        if not response.messages_list:
            return None
        return Letter(message_from_proto(response.messages_list[0]), response.message_object_trees[0])

    def fetch(self, letter: Letter) -> RecordDict | None:
        """The content of a message; None while the sender is still uploading it. Repeat it after an interruption."""
        node, run_id = self._addressed(letter.message.metadata.dst_node_id), letter.message.metadata.run_id
        confirm = ConfirmMessageReceivedRequest(node=node, run_id=run_id, message_object_id=letter.tree.object_id)
        self._peer_encloses = wire_inline.is_enclosed(letter.message, letter.tree)
        if self._peer_encloses:
            # It only frees a row at the server: nobody waits for it, and at the end of the run all rows go.
            self._pool.submit(self._client.ConfirmMessageReceived, confirm)
            return letter.message.content
        wanted = {tree.object_id for tree in iterate_object_tree(letter.tree)} - letter.objects.keys()

        def transfer(object_id: str) -> bool:
            request = PullObjectRequest(node=node, run_id=run_id, object_id=object_id)
            response = _once(lambda: self._client.PullObject(request))
            if not response.object_found:
                raise FleetRefused(f"object {object_id} of message {letter.message_id} is not there")
            if response.object_available:
                letter.objects[object_id] = response.object_content
            return response.object_available

        if not all(list(self._pool.map(transfer, wanted))):
            return None
        _once(lambda: self._client.ConfirmMessageReceived(confirm))
        message = inflate_object_from_contents(letter.tree.object_id, letter.objects)
        if not isinstance(message, Message):
            raise FleetRefused("the server handed out something that is no message")
        return message.content

    def compose(self, origin: bytes, content: RecordDict | int, seconds: float) -> Outgoing:
        """An answer to the message of `origin`: content, or a code without a word of the app's. Nothing is sent yet.

        `seconds` is how long the app took. Send the same answer again after a failure, never a second one: the
        SuperLink takes one reply to a message and ignores any other, but the same one it completes.
        """
        asked = _asked(origin)
        if isinstance(content, RecordDict):
            message = Message(content, reply_to=asked)
        else:
            message = Message(Error(code=content, reason=""), reply_to=asked)
        objects: dict[str, InflatableObject]
        if self._peer_encloses and wire_inline.fits(message):
            announcement, tree, _ = wire_inline.enclose(message)
            objects = {}  # its one object is never pulled, so nothing follows
        else:
            with no_object_id_recompute():
                message.metadata.__dict__["_message_id"] = message.object_id
                tree, objects = get_object_tree(message), get_all_nested_objects(message)
            announcement = message_to_proto(remove_content_from_message(message))
        return Outgoing(announcement, tree, objects, seconds)

    def push(self, outgoing: Outgoing) -> None:
        """Send an answer, or what is missing of it. Raises RunOver when the asker is a former server."""
        request = PushMessagesRequest(
            node=self._addressed(outgoing.announcement.metadata.src_node_id),
            messages_list=[outgoing.announcement],
            message_object_trees=[outgoing.tree],
            clientapp_runtime_list=[outgoing.seconds],
        )
        response = _once(lambda: self._client.PushMessages(request))

        def transfer(object_id: str) -> None:
            # Serialised here, one chunk for each transfer at a time: never the whole reply a second time.
            push = PushObjectRequest(
                node=self._active(),
                run_id=outgoing.announcement.metadata.run_id,
                object_id=object_id,
                object_content=outgoing.objects[object_id].deflate(),
                session_id=response.session_id,
            )
            if not _once(lambda: self._client.PushObject(push)).stored:
                raise ServerAway("the server's push session has expired")

        missing = [object_id for object_id in response.objects_to_push if object_id in outgoing.objects]
        if len(missing) == 1:
            transfer(missing[0])
        else:
            list(self._pool.map(transfer, missing))

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _active(self) -> Node:
        if self._node is None:
            raise NodeUnknown("the node is not active")
        return self._node

    def _addressed(self, node_id: int) -> Node:
        """The node, if the message was for it. A server that was replaced gives new ids and knows no old run: asked for
        one, it fails with a 500, which is like being away, for ever."""
        node = self._active()
        if node.node_id != node_id:
            raise RunOver(f"the message was for node {node_id} of a former server")
        return node


def _asked(origin: bytes) -> Message:
    """The message that is answered, without its content."""
    try:
        return make_message(metadata=metadata_from_proto(ProtoMetadata.FromString(origin)), content=RecordDict())
    # A note that somebody else wrote over: whatever it is, it is no message.
    except Exception as error:
        raise FleetRefused("the note names no message") from error


def _once(call: Callable[[], T]) -> T:
    """Make one call; httpx's errors become ours."""
    try:
        return call()
    except httpx.TransportError as error:
        raise ServerAway(f"{type(error).__name__}: {error}") from error
    except httpx.HTTPStatusError as error:
        raise _meaning(error.response) from error
    except ValueError as error:
        raise ServerAway(f"unreadable answer: {error}") from error


def _meaning(response: httpx.Response) -> FleetError:
    """What an HTTP status stands for."""
    known = FlowerError.from_json(response.text)
    text = f"HTTP {response.status_code} {known.message if known else ''}".strip()
    if known is not None and known.code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
        return RunOver(text)
    if response.status_code == 401 or (known is not None and known.code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED):
        return NodeUnknown(text)
    if response.status_code in _AWAY:
        return ServerAway(text)
    return FleetRefused(text)


def now() -> float:
    """Wall clock, to compare with a message's `created_at`."""
    return time.time()
