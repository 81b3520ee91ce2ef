"""Frames over a real socket pair, whole, torn and forged."""

import json
import mmap
import socket
import struct
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.runtime.gate import frames
from hanse.runtime.gate.frames import Connection, ConnectionLost, Frame, MalformedFrame, head_of, read_frame


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    left, right = socket.socketpair()
    yield Connection(left, stall_seconds=0.05), right
    left.close()
    right.close()


@settings(max_examples=30)
@given(
    kind=st.text(max_size=10),
    meta=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
    blobs=st.lists(st.binary(max_size=300), max_size=4),
)
def test_a_frame_comes_out_as_it_went_in(kind: str, meta: dict[str, int | str], blobs: list[bytes]) -> None:
    left, right = socket.socketpair()
    with left, right:
        Connection(left).send(Frame(kind, meta, blobs))
        frame = Connection(right).recv()
    assert (frame.kind, frame.meta, [bytes(b) for b in frame.blobs]) == (kind, meta, blobs)


def test_large_blobs_are_not_held_up_by_the_sockets_buffer() -> None:
    left, right = socket.socketpair()
    blob = bytes(range(256)) * 40_000
    with left, right:
        sender = threading.Thread(target=Connection(left).send, args=(Frame("message", {}, [blob, b"", blob]),))
        sender.start()
        frame = Connection(right).recv()
        sender.join()
    assert [bytes(b) for b in frame.blobs] == [blob, b"", blob]


def test_a_frame_over_the_limit_is_not_kept_and_the_next_one_is_read() -> None:
    left, right = socket.socketpair()
    size = 64 << 20
    with left, right:

        def send() -> None:
            left.sendall(json_head("large", size))
            for _ in range(64):
                left.sendall(bytes(1 << 20))
            Connection(left).send(Frame("next", {}, [b"abc"]))

        sender = threading.Thread(target=send)
        sender.start()
        tracemalloc.start()
        frame = Connection(right).recv(limit=size - 1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (frame.kind, frame.dropped, list(frame.blobs)) == ("large", True, [])
        assert peak < 8 << 20
        following = Connection(right).recv(limit=3)
        sender.join()
    assert (following.kind, following.dropped, [bytes(b) for b in following.blobs]) == ("next", False, [b"abc"])


def json_head(kind: str, size: int) -> bytes:
    head = json.dumps({"kind": kind, "meta": {}, "sizes": [size]}).encode()
    return b"HNS1" + struct.pack(">I", len(head)) + head


def test_a_closed_peer_is_noticed(pair: tuple[Connection, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(ConnectionLost):
        pair[0].recv()


def test_a_peer_that_stalls_within_a_frame_counts_as_gone(pair: tuple[Connection, socket.socket]) -> None:
    pair[1].sendall(head_of(Frame("reply", {}, [b"abc"])) + b"a")
    with pytest.raises(ConnectionLost):
        pair[0].recv()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HT",
        b"HNS1" + struct.pack(">I", frames.HEAD_LIMIT + 1),
        b"HNS1" + struct.pack(">I", 4) + b"null",
        b"HNS1" + struct.pack(">I", 2) + b"{}",
        *(
            b"HNS1" + struct.pack(">I", len(head)) + head
            for head in (
                b'{"kind": 1, "meta": {}, "sizes": []}',
                b'{"kind": "a", "meta": [], "sizes": []}',
                b'{"kind": "a", "meta": {}, "sizes": [-1]}',
                b'{"kind": "a", "meta": {}, "sizes": [true]}',
                b'{"kind": "a", "meta": {}, "sizes": [9999999999999]}',
                b'{"kind": "a", "meta": {}, "sizes": "abc"}',
                b"[" * 60_000,
            )
        ),
    ],
)
def test_forged_heads_are_refused(pair: tuple[Connection, socket.socket], raw: bytes) -> None:
    pair[1].sendall(raw)
    with pytest.raises(MalformedFrame):
        pair[0].recv()


def test_a_frame_left_in_memory_is_read_only_when_it_is_whole() -> None:
    frame = Frame("reply", {"split": 1}, [b"abc", b"de"])
    whole = head_of(frame) + b"abcde"
    for size in range(1, len(whole) + 1):
        memory = mmap.mmap(-1, size)
        memory[:] = whole[:size]
        if size == len(whole):
            assert [bytes(b) for b in read_frame(memory).blobs] == [b"abc", b"de"]
        else:
            with pytest.raises(MalformedFrame):
                read_frame(memory)
