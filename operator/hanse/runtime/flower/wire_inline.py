"""Small messages travel whole, in the one request that announces them. Used by the gate (fleet) and our Grid.

Flower announces a message and then moves each of its objects (the message, its records, arrays and their chunks) with a
request of its own: three requests and two more for each array, each way, for each participant. The SuperLink stores and
hands out whatever content an announcement carries, so below `LIMIT` the content rides along and no object follows. (The
message's own object stays announced for ever; the SuperLink cleans such a message up only when somebody pulls it.)
A gate encloses its reply only when the message was enclosed too, so each side still understands Flower's own.
"""

from typing import Final

from flwr.app import ArrayRecord, Message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import ObjectTree

#: Above it the objects are better: they are stored once for all participants, and moved in chunks.
LIMIT: Final = 512 << 10


def fits(message: Message) -> bool:
    """Whether a message is small enough to be enclosed."""
    if not message.has_content():
        return False
    arrays = (a for r in message.content.values() if isinstance(r, ArrayRecord) for a in r.values())
    return sum(len(array.data) for array in arrays) <= LIMIT


def enclose(message: Message) -> tuple[ProtoMessage, ObjectTree, bytes]:
    """The announcement with the content in it, a tree of one object, and that object. Sets the message's id."""
    root = message.deflate()
    message.metadata.__dict__["_message_id"] = message.object_id
    return message_to_proto(message), ObjectTree(object_id=message.object_id), root


def is_enclosed(message: Message, tree: ObjectTree) -> bool:
    """Whether a pulled message holds its content already. (Without it the tree has the content as the root's child.)"""
    return message.has_content() and not tree.children
