"""Our Flower Grid: the same contract as Flower's HttpGrid, without its three-second sleep and its thread pools.

The platform's round loop uses it through `server_app.GridFleet`; a user's own ServerApp gets it as its `grid`.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import httpx
from flwr.app import Message, RecordDict
from flwr.app.error import Error
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.node_pb2 import Node, NodeInfo
from flwr.proto.runtime_pb2 import GetNodesRequest, PullAppMessagesRequest, PushAppMessagesRequest
from flwr.serverapp.grid import Grid
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient

from hanse.runtime.flower import wire_inline
from hanse.runtime.flower.link import LinkError, translate

#: Polls in a row while a reply is awaited: the SuperLink holds an empty answer back (`link_wake`); where it does not,
#: these pauses keep the polling within 50 ms.
_SHORTEST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.05
#: An answer that took longer than this was held back: ask again at once.
_HELD_SECONDS: Final = 0.1
_MOST_UNCONFIRMED: Final = 1000
#: How long a reply's objects may be on their way after the reply itself.
_OBJECT_PATIENCE_SECONDS: Final = 60.0


class ObjectMissingError(LinkError):
    """A reply's objects did not arrive."""


class HanseGrid(Grid):
    """Messages to and from the nodes of one run."""

    def __init__(
        self,
        client: RuntimeHttpClient,
        run: Run,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called between polls and may raise; `watch` may be set to see each batch before it is sent, and
        `hear` to see the replies that came."""
        self._client = client
        self._run = run
        self._check = check
        self.watch: Callable[[Sequence[Message]], None] = lambda messages: None
        self.hear: Callable[[Sequence[Message]], None] = lambda replies: None
        self._node = Node(node_id=SUPERLINK_NODE_ID)
        self._unconfirmed: list[str] = []

    def set_run(self, run: Run) -> None:
        """The run is fixed when the grid is made."""
        self._run = run

    @property
    def run(self) -> Run:
        """Run information."""
        return Run(**vars(self._run))

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Deprecated by Flower in favour of `Message(...)`; still called by older apps."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of the nodes that are online."""
        return [node.node_id for node in self.get_nodes()]

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The nodes that are online."""
        try:
            return list(self._client.GetNodes(GetNodesRequest()).nodes)
        except httpx.HTTPError as error:
            raise translate(error) from error

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send; ids in the order of the messages, empty for one that was not accepted."""
        batch = list(messages)
        if not batch:
            return []
        self.watch(batch)
        try:
            return self._push(batch)
        except httpx.HTTPError as error:
            raise translate(error) from error

    def _push(self, batch: list[Message]) -> list[str]:
        objects: dict[str, InflatableObject] = {}
        with no_object_id_recompute():
            protos: list[ProtoMessage] = []
            trees: list[ObjectTree] = []
            for message in batch:
                if wire_inline.fits(message):
                    # Its one object is never pulled, so it is not pushed: a gate that is quick would confirm the
                    # message, and the SuperLink forget its objects, before we were done.
                    proto, tree, _ = wire_inline.enclose(message)
                else:
                    message.metadata.__dict__["_message_id"] = message.object_id
                    proto, tree = message_to_proto(remove_content_from_message(message)), get_object_tree(message)
                    objects.update(get_all_nested_objects(message))
                protos.append(proto)
                trees.append(tree)
            answer = self._client.PushMessages(PushAppMessagesRequest(messages_list=protos, message_object_trees=trees))
            for object_id in objects.keys() & set(answer.objects_to_push):
                request = PushObjectRequest(
                    node=self._node,
                    run_id=self._run.run_id,
                    object_id=object_id,
                    object_content=objects.pop(object_id).deflate(),
                    session_id=answer.session_id,
                )
                if not self._client.PushObject(request).stored:
                    raise LinkError("the SuperLink did not store an object: its push session has expired")
        return list(answer.message_ids)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there for `message_ids`, whole."""
        self._check()
        ids = [message_id for message_id in message_ids if message_id]
        if not ids:
            return []
        try:
            asked = time.monotonic()
            answer = self._client.PullMessages(PullAppMessagesRequest(message_ids=ids))
            idle = not answer.messages_list and time.monotonic() - asked > _HELD_SECONDS
            if idle or len(self._unconfirmed) > _MOST_UNCONFIRMED:
                self._confirm_idly()
            replies = zip(answer.messages_list, answer.message_object_trees, strict=True)
            found = [self._inflate(proto, tree) for proto, tree in replies]
        except httpx.HTTPError as error:
            raise translate(error) from error
        self.hear(found)
        return found

    def _inflate(self, proto: ProtoMessage, tree: ObjectTree) -> Message:
        message_id = proto.metadata.message_id
        if wire_inline.is_enclosed(enclosed := message_from_proto(proto), tree):
            self._unconfirmed.append(message_id)
            return enclosed
        try:
            contents = {node.object_id: self._pull_object(node.object_id) for node in iterate_object_tree(tree)}
        except ObjectMissingError as error:
            return self._unavailable(proto.metadata.reply_to_message_id, str(error))
        self._confirm(message_id)
        message = cast(Message, inflate_object_from_contents(message_id, contents))
        message.metadata.__dict__["_message_id"] = message_id
        return message

    def _confirm(self, message_id: str) -> None:
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=self._run.run_id, message_object_id=message_id)
        )

    def _confirm_idly(self) -> None:
        """Confirming an enclosed reply only frees a row at the SuperLink: done while the participants are at work."""
        while self._unconfirmed:
            self._confirm(self._unconfirmed.pop())

    def _pull_object(self, object_id: str) -> bytes:
        request = PullObjectRequest(node=self._node, run_id=self._run.run_id, object_id=object_id)
        pause, end = _SHORTEST_PAUSE, time.monotonic() + _OBJECT_PATIENCE_SECONDS
        while time.monotonic() < end:
            answer = self._client.PullObject(request)
            if not answer.object_found:
                break
            if answer.object_available:
                return answer.object_content
            self._check()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise ObjectMissingError("an object of the reply is missing: its sender did not finish the upload")

    def _unavailable(self, reply_to: str, reason: str) -> Message:
        """What Flower's own grid returns in this case."""
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id="",
            src_node_id=self._node.node_id,
            dst_node_id=self._node.node_id,
            message_type=SYSTEM_MESSAGE_TYPE,
            group_id="",
            ttl=0,
            reply_to_message_id=reply_to,
            created_at=now().timestamp(),
        )
        return make_message(metadata=metadata, error=Error(code=ErrorCode.MESSAGE_UNAVAILABLE, reason=reason))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send and collect replies until all are there or `timeout` seconds have passed."""
        return self.collect(self.push_messages(messages), timeout)

    def collect(
        self, message_ids: Iterable[str], timeout: float | None, seen: Callable[[Message], Any] = lambda reply: None
    ) -> list[Message]:
        """Replies to `message_ids` until all are there or `timeout` seconds have passed."""
        waiting = {message_id for message_id in message_ids if message_id}
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        pause = _SHORTEST_PAUSE
        while waiting and (end is None or time.monotonic() < end):
            asked = time.monotonic()
            found = list(self.pull_messages(waiting))
            for reply in found:
                seen(reply)
                waiting.discard(reply.metadata.reply_to_message_id)
            replies.extend(found)
            if found:
                pause = _SHORTEST_PAUSE
            elif time.monotonic() - asked < _HELD_SECONDS:
                # Jitter: two pollers do not march in step.
                time.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311
                pause = min(pause * 2, _LONGEST_PAUSE)
        return replies
