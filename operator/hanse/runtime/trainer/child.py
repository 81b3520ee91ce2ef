"""One message, one process: forked from the warm supervisor, runs the ClientApp, leaves its reply in memory, ends.

The fork is what makes each message start from the freshly imported app: module globals do not survive it.
"""

import contextlib
import ctypes
import gc
import io
import logging
import mmap
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hanse.api.replies import ReplyCode
from hanse.runtime.gate.frames import Frame, FrameError, head_of, read_frame

if TYPE_CHECKING:
    from hanse.runtime.flower.wire import Configs

log = logging.getLogger(__name__)

#: The OOM killer takes the child before PID 1, so that somebody is left to say what happened.
OOM_SCORE: Final = 200
_PR_SET_PDEATHSIG: Final = 1


@dataclass
class Child:
    """A running child and the memory that it leaves its reply in."""

    pid: int
    message_id: str
    memory: int
    oom_kills_before: int

    def kill(self) -> None:
        """Kill the child and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        # Before the child's own setsid there is no such group yet.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reply(self) -> Frame | None:
        """What the child left, None when it died before it was done. Ends the child's memory."""
        try:
            size = os.fstat(self.memory).st_size
            if size == 0:
                return None
            # Unmapped with the last view of it.
            return read_frame(mmap.mmap(self.memory, size, prot=mmap.PROT_READ))
        except FrameError:
            return None
        finally:
            os.close(self.memory)


def prepare_to_fork() -> None:
    """Called once the app is imported: what is there now is shared with all children and never collected."""
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    gc.collect()
    gc.freeze()


def start(app: Any, frame: Frame, configs: "Configs", close: Iterable[int], oom_kills_before: int) -> Child:
    """Fork a child for one message frame; `close` are the supervisor's own descriptors."""
    memory = os.memfd_create("reply")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run(app, frame, configs, close, memory)
    return Child(pid, str(frame.meta.get("id")), memory, oom_kills_before)


def _run(app: Any, frame: Frame, configs: "Configs", close: Iterable[int], memory: int) -> NoReturn:
    """The child's whole life. Nothing of the supervisor's may run in it: it leaves by os._exit alone."""
    try:
        _detach(close)
        reply = _answer(app, frame, configs)
        with io.FileIO(memory, "wb", closefd=False) as file:
            for piece in (head_of(reply), *reply.blobs):
                _write(file, piece)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    # Whatever it is, it must not unwind into the supervisor's frames; an unfinished reply says the rest.
    except BaseException:  # noqa: BLE001
        os.ftruncate(memory, 0)
        traceback.print_exc()
        os._exit(1)


def _write(file: io.FileIO, piece: bytes | bytearray | memoryview) -> None:
    with memoryview(piece) as view:
        done = 0
        while done < len(view):
            done += file.write(view[done:]) or 0


def _detach(close: Iterable[int]) -> None:
    """A session and signals of its own; dies with the supervisor; goes first when memory runs out."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in close:
        os.close(descriptor)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError):
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE)))


def _answer(app: Any, frame: Frame, configs: "Configs") -> Frame:
    """Call the app. Its errors are printed here, in the owner's namespace, and leave as a code."""
    from hanse.runtime.apps import DatasetError
    from hanse.runtime.flower import client, wire

    task = wire.unpack_task(bytes.fromhex(frame.meta["origin"]), frame.blobs, frame.meta["split"], configs)
    frame.blobs = ()
    try:
        content = client.call(app, task)
        blobs, split = wire.pack_answer(content, task.context.state)
    except DatasetError as error:
        log.error("%s", error)
        return Frame("reply", {"code": ReplyCode.DATASET_INVALID, "text": str(error)})
    except MemoryError as error:
        traceback.print_exc()
        return Frame("reply", {"code": ReplyCode.OUT_OF_MEMORY, "text": f"{type(error).__name__}: {error}"})
    except Exception:  # noqa: BLE001 - the app is a stranger's code
        traceback.print_exc()
        return Frame("reply", {"code": ReplyCode.APP_ERROR})
    return Frame("reply", {"split": split}, blobs)
