"""Frames between gate and trainer over a unix socket: a short JSON head and raw blobs. Used by both programs.

Layout: magic (4 bytes), length of the head (4 bytes, big endian), head (JSON: kind, meta, sizes), the blobs.
Arrays travel as blobs of their own, so nothing large is copied into a serialised whole.
"""

import json
import mmap
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Buffer = bytes | bytearray | memoryview

PROTOCOL: Final = 1
MAGIC: Final = b"HNS1"
HEAD_LIMIT: Final = 4 << 20
#: A frame above this is refused before a byte of it is stored.
FRAME_LIMIT: Final = 8 << 30
#: Below this a frame is sent with one system call, which is worth more than the copy.
COALESCE: Final = 256 << 10
#: How long one read or write may stand still before the other side counts as gone.
STALL_SECONDS: Final = 30.0

_PREFIX = struct.Struct(">4sI")


class FrameError(Exception):
    """Base of what can go wrong on the socket."""


class ConnectionLost(FrameError):
    """The other side is gone, or stands still in the middle of a frame."""


class MalformedFrame(FrameError):
    """The bytes are no frame; the connection cannot go on."""


@dataclass
class Frame:
    """One frame: what it is, small values, and blobs of bytes."""

    kind: str
    meta: dict[str, Any] = field(default_factory=dict)
    blobs: Sequence[Buffer] = ()
    #: It was over the receiver's limit: its blobs were thrown away as they came.
    dropped: bool = False


def head_of(frame: Frame) -> bytes:
    """Prefix and head of a frame; the blobs follow them on the wire."""
    sizes = [len(blob) for blob in frame.blobs]
    head = json.dumps({"kind": frame.kind, "meta": frame.meta, "sizes": sizes}).encode()
    if len(head) > HEAD_LIMIT:
        raise MalformedFrame(f"head of {len(head)} bytes is over {HEAD_LIMIT}")
    return _PREFIX.pack(MAGIC, len(head)) + head


def parse_head(head: bytes) -> tuple[Frame, list[int]]:
    """The frame without its blobs, and the blobs' sizes; every value is checked, the sender may be a stranger."""
    try:
        value = json.loads(head)
        kind, meta, sizes = value["kind"], value["meta"], value["sizes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedFrame("head is no frame") from error
    if not (isinstance(kind, str) and isinstance(meta, dict) and isinstance(sizes, list)):
        raise MalformedFrame("head has wrong types")
    if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) > FRAME_LIMIT:
        raise MalformedFrame("sizes are wrong or too large")
    return Frame(kind, meta), sizes


class Connection:
    """One end of the socket. Blocking; a peer that stalls within a frame counts as gone."""

    def __init__(self, sock: socket.socket, stall_seconds: float = STALL_SECONDS) -> None:
        self._sock = sock
        sock.settimeout(stall_seconds)

    def fileno(self) -> int:
        """For a selector: readable means that `recv` gets a frame or learns that the peer is gone."""
        return self._sock.fileno()

    def send(self, frame: Frame) -> None:
        """Send one frame. Raises ConnectionLost."""
        self.send_raw(head_of(frame), frame.blobs)

    def send_raw(self, head: Buffer, blobs: Iterable[Buffer]) -> None:
        """Send an encoded head and its blobs."""
        pieces = [head, *blobs]
        if sum(len(piece) for piece in pieces) <= COALESCE:
            pieces = [b"".join(pieces)]
        try:
            for piece in pieces:
                self._sock.sendall(piece)
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    def recv(self, limit: int = FRAME_LIMIT) -> Frame:
        """The next frame, whole; of one whose blobs are more than `limit` bytes only the head, marked as dropped.

        Raises ConnectionLost or MalformedFrame.
        """
        magic, length = _PREFIX.unpack(self._read(_PREFIX.size))
        if magic != MAGIC or length > HEAD_LIMIT:
            raise MalformedFrame("prefix is no frame")
        frame, sizes = parse_head(bytes(self._read(length)))
        if sum(sizes) > limit:
            frame.dropped = True
            self._skip(sum(sizes))
        else:
            frame.blobs = [self._read(size) for size in sizes]
        return frame

    def _skip(self, size: int) -> None:
        """Take bytes from the socket without keeping them, so that the next frame can be read."""
        while size > 0:
            size -= len(self._read(min(size, COALESCE)))

    def _read(self, size: int) -> bytearray:
        """Exactly `size` bytes, grown as they come: a lying size costs the liar, not us."""
        buffer = bytearray(min(size, COALESCE))
        have = 0
        while have < size:
            if have == len(buffer):
                buffer.extend(bytes(min(size - have, len(buffer))))
            with memoryview(buffer) as view:
                try:
                    got = self._sock.recv_into(view[have:])
                except OSError as error:
                    raise ConnectionLost(str(error)) from error
            if got == 0:
                raise ConnectionLost("the other side closed the connection")
            have += got
        return buffer

    def close(self) -> None:
        """Close the socket; the peer learns it at once."""
        self._sock.close()


def read_frame(memory: mmap.mmap) -> Frame:
    """A frame that lies in memory as it would come over the socket; its blobs stay there, they are views.

    Raises MalformedFrame when it is not whole.
    """
    if len(memory) < _PREFIX.size:
        raise MalformedFrame("no frame")
    magic, length = _PREFIX.unpack(memory[: _PREFIX.size])
    if magic != MAGIC or len(memory) < _PREFIX.size + length:
        raise MalformedFrame("no frame")
    frame, sizes = parse_head(memory[_PREFIX.size : _PREFIX.size + length])
    offset = _PREFIX.size + length
    if len(memory) != offset + sum(sizes):
        raise MalformedFrame("the frame is not whole")
    blobs, view = [], memoryview(memory)
    for size in sizes:
        blobs.append(view[offset : offset + size])
        offset += size
    frame.blobs = blobs
    return frame
