"""Looks for participants' updates in files, databases and the memory of processes; pure but for what it reads.

An update is written in every form that it could lie about in (`forms`), each form is cut into windows of eight numbers
that no other data would have by chance, and the windows are searched for at every byte of the haystack.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

Vector = np.ndarray[Any, np.dtype[Any]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

NUMBERS: Final = 8
_BLOCK: Final = 1 << 24
_ANCHOR: Final = 4


@dataclass(frozen=True)
class Form:
    """A sequence of numbers as the bytes that it would be stored as; `width` is one number's."""

    name: str
    data: bytes
    width: int

    @property
    def window(self) -> int:
        """Bytes of a window."""
        return NUMBERS * self.width


def forms(name: str, real: Mapping[str, Vector], whole: Mapping[str, Vector]) -> list[Form]:
    """Real vectors as float32 and float64, whole ones as int64 and int32, also big-endian; `name` is the owner's."""
    found = []
    for what, vector in real.items():
        for dtype in ("<f4", "<f8", ">f4", ">f8"):
            found.append(Form(f"{name}: {what} as {dtype}", vector.astype(dtype).tobytes(), int(dtype[-1])))
    for what, vector in whole.items():
        for dtype in ("<i8", "<i4", ">i8", ">i4"):
            if np.array_equal(vector.astype(dtype).astype(np.int64), vector):
                found.append(Form(f"{name}: {what} as {dtype}", vector.astype(dtype).tobytes(), int(dtype[-1])))
    return found


class Searcher:
    """All forms of all participants at once."""

    def __init__(self, forms: Iterable[Form], windows: int = 64) -> None:
        """At most so many windows for each form. Raises ValueError for a form that is too plain to be told apart."""
        needles: list[tuple[bytes, int, str]] = []
        for form in forms:
            whole = {form.data[at : at + form.window] for at in range(0, len(form.data), form.window)}
            telling = sorted(window for window in whole if _is_telling(window, form))
            if not telling:
                raise ValueError(f"{form.name}: no window of it could be told from other data")
            chosen = telling[:: max(1, len(telling) // windows)][:windows]
            needles += [(window, _anchor(window, form), form.name) for window in chosen]
        self._longest = max(len(window) for window, _, _ in needles)
        self._by_anchor: dict[int, list[tuple[bytes, int, str]]] = {}
        for window, at, name in needles:
            anchor = int.from_bytes(window[at : at + _ANCHOR], "little")
            self._by_anchor.setdefault(anchor, []).append((window, at, name))
        self._anchors = np.asarray(sorted(self._by_anchor), np.uint32)
        self._low = np.zeros(1 << 16, bool)
        self._low[self._anchors & 0xFFFF] = True

    def search(self, blocks: Iterable[bytes]) -> Counter[str]:
        """How many windows of each form are in contiguous blocks; a form that is not there has no entry."""
        found: Counter[str] = Counter()
        for block in _overlapping(blocks, self._longest - 1):
            found.update(self._in_block(block))
        return found

    def _in_block(self, block: bytes) -> Iterator[str]:
        if len(block) < 2 * _ANCHOR:
            return
        seen: set[tuple[int, str]] = set()
        for start in range(_ANCHOR):
            words = np.frombuffer(block, np.uint32, (len(block) - start) // _ANCHOR, start)
            likely = np.flatnonzero(self._low[words & 0xFFFF])
            likely = likely[np.isin(words[likely], self._anchors)]
            for place in likely:
                at = start + int(place) * _ANCHOR
                for window, before, name in self._by_anchor[int(words[place])]:
                    begin = at - before
                    if begin >= 0 and block[begin : begin + len(window)] == window and (begin, name) not in seen:
                        seen.add((begin, name))
                        yield name


def _is_telling(window: bytes, form: Form) -> bool:
    """Whether no other data has this by chance: eight numbers that all differ, the first of them no round one."""
    numbers = {window[at : at + form.width] for at in range(0, len(window), form.width)}
    first = window[_anchor(window, form) :][:_ANCHOR]
    return len(numbers) == NUMBERS and len(set(first)) >= 3


def _anchor(window: bytes, form: Form) -> int:
    """Where in its first number the window has the most telling bytes."""
    return max(range(0, form.width - _ANCHOR + 1, _ANCHOR), key=lambda at: len(set(window[at : at + _ANCHOR])))


def _overlapping(blocks: Iterable[bytes], overlap: int) -> Iterator[bytes]:
    """The blocks, each with the end of the one before it; a window across two is then in one of them."""
    tail = b""
    for block in blocks:
        for at in range(0, len(block), _BLOCK):
            piece = tail + block[at : at + _BLOCK]
            yield piece
            tail = piece[-overlap:] if overlap else b""


# --- haystacks -------------------------------------------------------------------------------------------------------


def file_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def files_under(*roots: Path) -> list[Path]:
    """Every file, links not followed."""
    return sorted(p for root in roots for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def cells(path: Path) -> Iterator[bytes]:
    """Every cell of an SQLite database in one piece: on disk a large one lies in pages that are not neighbours."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for name in names:
            for row in connection.execute(f'select * from "{name}"'):
                for cell in row:
                    yield cell if isinstance(cell, bytes) else str(cell).encode()


def memory(pid: int) -> Iterator[bytes]:
    """What a process has in memory: every readable mapping that is not a file mapped for reading alone."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, _, _, inode, *_ = line.split(maxsplit=5)
            if not rights.startswith("r") or "[v" in line or ("w" not in rights and inode != "0"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            for at in range(start, end, _BLOCK):
                try:
                    file.seek(at)
                    yield file.read(min(_BLOCK, end - at))
                except OSError:  # unmapped since, or a hole
                    yield b""


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found
