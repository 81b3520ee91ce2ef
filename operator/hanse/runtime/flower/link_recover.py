"""Messages that were handed out and never arrived, and nodes that were killed: what stock Flower waits for in vain.

The SuperLink marks a message as delivered before it writes the answer, so a pull whose peer dies, or whose connection
breaks, takes the message with it and the round waits until its time-out. Our gates work on one message at a time and
say in each pull which one they took last (`PullMessagesRequest.message_ids`, which Flower 1.41 sends empty and does
not read), so whatever else was delivered to the node and has no reply is lost:

* taken, or handed to a gate of which nothing is known (a new pod): it may have been worked on. It gets the error reply
  GATE_RESTARTED, it is never handed out again: at most once.
* not taken by the gate that pulls: it was lost on the way, nobody has seen it. It is handed out again.

A node whose process was killed is online for two more heartbeat intervals, in which Flower refuses its activation. The
request is signed with the node's key, so the successor is let in at once.

One key is one gate: two that live at the same time (a pod on a node that was only thought dead) would each take the
other's message for lost. It gets the error reply, and the reply that comes after it is ignored.

Both sit behind Flower's own authentication of the node. Installed by `link_main`, tested in
`operator/tests/contract/runtime/gate/test_lost_messages.py`.
"""

from collections.abc import Callable, Collection
from logging import INFO, WARNING
from typing import Any, Final

from flwr.app import Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
)
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore import log
from flwr.supercore.date import now
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.state.schema.linkstate_models import MessageIns, MessageRes
from flwr.supercore.utils import int64_to_uint64, uint64_to_int64
from flwr.superlink.servicer.fleet import fleet_handlers
from sqlalchemy import exists, select, update

from hanse.api.replies import ReplyCode
from hanse.runtime.flower.wire_taken import UNKNOWN

Pull = Callable[..., PullMessagesResponse]
Activate = Callable[..., ActivateNodeResponse]
_COLUMNS: Final = (
    MessageIns.message_id,
    MessageIns.run_id,
    MessageIns.group_id,
    MessageIns.created_at,
    MessageIns.ttl,
    MessageIns.message_type,
)


def install() -> None:
    """Put both in front of Flower's handlers; its router looks them up at each request."""
    fleet_handlers.pull_messages = recovering(fleet_handlers.pull_messages)
    fleet_handlers.activate_node = readmitting(fleet_handlers.activate_node)


def recovering(pull: Pull) -> Pull:
    """`pull`, after what was lost for this node has been dealt with. Peers that say nothing are served as ever."""

    def pull_messages(request: PullMessagesRequest, state: SqlLinkState, store: ObjectStore) -> PullMessagesResponse:
        if request.message_ids:
            recover(state, request.node.node_id, frozenset(request.message_ids))
        return pull(request=request, state=state, store=store)

    return pull_messages


def readmitting(activate: Activate) -> Activate:
    """`activate`, also for a node that seems to be online: whoever holds its key has restarted."""

    def activate_node(request: ActivateNodeRequest, state: SqlLinkState) -> ActivateNodeResponse:
        with state.session():  # nobody sees the node offline in between
            node_id = state.get_node_id_by_public_key(request.public_key)
            if node_id is not None and state.deactivate_node(node_id):
                log(INFO, "Node %s was online and is activated again", node_id)
            return activate(request=request, state=state)

    return activate_node


def recover(state: SqlLinkState, node_id: int, taken: Collection[str]) -> None:
    """Hand out again or answer what was delivered to the node and has no reply; the node has nothing in its hands."""
    for row in _unanswered(state, node_id):
        if UNKNOWN in taken or row.message_id in taken:
            log(WARNING, "Message %s was lost with the gate of node %s", row.message_id, node_id)
            _answer(state, node_id, row)
        else:
            log(WARNING, "Message %s did not reach node %s and is handed out again", row.message_id, node_id)
            with state.session() as session:
                session.execute(
                    update(MessageIns).where(MessageIns.message_id == row.message_id).values(delivered_at="")
                )


def _unanswered(state: SqlLinkState, node_id: int) -> list[Any]:
    """Rows of `_COLUMNS`: delivered to the node, still awaited, without a reply."""
    replied = exists(select(MessageRes.message_id).where(MessageRes.reply_to_message_id == MessageIns.message_id))
    wanted = select(*_COLUMNS).where(
        MessageIns.dst_node_id == uint64_to_int64(node_id),
        MessageIns.delivered_at != "",
        MessageIns.created_at + MessageIns.ttl > now().timestamp(),
        ~replied,
    )
    with state.session() as session:
        return list(session.execute(wanted).all())


def _answer(state: SqlLinkState, node_id: int, row: Any) -> None:
    """The error reply that the gate would have sent. The aggregator sees it at its next pull, within a second."""
    metadata = Metadata(
        int64_to_uint64(row.run_id),
        row.message_id,
        SUPERLINK_NODE_ID,
        node_id,
        "",
        row.group_id,
        row.created_at,
        row.ttl,
        row.message_type,
    )
    asked = make_message(metadata=metadata, content=RecordDict())
    reply = Message(Error(code=ReplyCode.GATE_RESTARTED, reason=""), reply_to=asked)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with state.session():
        if state.store_message_res(reply) is not None:
            state._store_generated_message(reply)
        else:  # its run is over, nobody waits
            state.delete_messages({row.message_id})
