"""A gate that is killed between two steps: opens, charges, sends, forgets, closes. Run by test_kill in a fork.

What leaves is a line in a file that the test reads; bytes are random for each noising, as a gate's are, and stored
before they are charged. The process kills itself with SIGKILL when it has made so many steps.
"""

import hashlib
import os
import signal
from pathlib import Path

from hanse.api.privacy import ReleaseKind
from hanse.pki import identity
from hanse.runtime.durable import replace_file
from hanse.runtime.ledger import Lease, Ledger, NotReserved, Slot, SlotUsed
from tests.contract.runtime.ledger.worlds import CLAIM, World


class Steps:
    """Counts steps, and dies at one."""

    def __init__(self, after: int) -> None:
        self._left = after

    def step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def fork(world: World, home: Path, after: int) -> int:
    """One life of a gate in a process of its own; how it ended (-9: killed)."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            _live(world.ledger(), home, Steps(after))
            code = 0
        except NotReserved:
            code = 4  # closed by the life before
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _live(ledger: Ledger, home: Path, steps: Steps) -> None:
    lease = ledger.open(CLAIM)
    steps.step()
    for number in range(1, 6):
        _round(steps, lease, home, number)
    key = identity.new_identity()
    lease.close(lambda message: identity.sign(key.private, message))
    steps.step()


def _round(steps: Steps, lease: Lease, home: Path, number: int) -> None:
    """A resend is the stored bytes; a slot that was paid for bytes that are lost needs the next attempt."""
    if (home / f"done-{number}").exists():
        return
    for attempt in (1, 2):
        slot, stored = Slot(ReleaseKind.TRAIN, number, attempt), home / f"bytes-{number}-{attempt}"
        if not stored.exists():
            replace_file(stored, os.urandom(32))
        content = stored.read_bytes()
        steps.step()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        try:
            lease.charge(slot, digest)
        except SlotUsed:
            continue
        steps.step()
        _send(home / "wire", slot.key, digest)
        steps.step()
        replace_file(home / f"done-{number}", b"")
        steps.step()
        return


def _send(wire: Path, key: str, digest: str) -> None:
    with wire.open("a") as file:
        file.write(f"{key} {digest}\n")
        file.flush()
        os.fsync(file.fileno())
