"""An update of an encrypted job as the bytes that leave: quantised, noised, encrypted, once for a round.

Used by `encrypted_round`. With differential privacy the ledger is paid for the ciphertext, after it was stored
(`release`); without it the ciphertext is stored all the same, so that a round has one answer whatever the server loses.
What a sum leaves out is carried into the next update once it is known that the round counted.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hanse.api.compression import Compression
from hanse.api.encryption import EncryptionPlan
from hanse.api.privacy import PrivacyPlan, ReleaseKind, Slot
from hanse.runtime.codec import Layout
from hanse.runtime.codec.layout import Vector
from hanse.runtime.codec.summed import SumCodec
from hanse.runtime.durable import replacing
from hanse.runtime.gate.outbox import Outbox, Stored
from hanse.runtime.gate.release import Releases
from hanse.runtime.he import Points
from hanse.runtime.noise import ReleaseNoise

_CARRIED: Final = re.compile(r"^carried-([0-9]{1,7})\.npy$")

#: Nobody may ask for a round again that is not after the committed one; some more for rounds that were void.
_KEPT_ROUNDS: Final = 4

Encrypt = Callable[[int, Points], bytes]


@dataclass(frozen=True)
class Codecs:
    """The codec of each round: the same at every gate."""

    layout: Layout
    agreement: str
    encryption: EncryptionPlan
    plan: PrivacyPlan | None
    compression: Compression | None

    def of(self, number: int, reach: float | None) -> SumCodec:
        """Of round `number`; `reach` is the shared model's range. Raises CodecError."""
        return SumCodec.of(self.layout, number, self.agreement, self.members, self.plan, self.compression, reach)

    @property
    def members(self) -> list[tuple[float, float]]:
        """(scale, mass) in the roster's order."""
        return [(float(member.scale), float(member.mass)) for member in self.encryption.roster]


class StoredUpdates:
    """The stored updates of a job without differential privacy: one for each round and model that it is about."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def again(self, kind: ReleaseKind, number: int, question: str) -> Stored | None:
        """What answered this question before."""
        stored = self._outbox.get(Slot(kind, number))
        return stored if stored is not None and stored.question == question else None

    def release(self, kind: ReleaseKind, number: int, question: str, make: Callable[[Slot], bytes]) -> Stored:
        """Make and store the answer; on return it may leave."""
        slot = Slot(kind, number)
        stored = Stored(slot, question, make(slot))
        self._outbox.put(stored)
        if number > _KEPT_ROUNDS:
            self._outbox.drop(Slot(kind, number - _KEPT_ROUNDS))
        return stored

    def lost(self, kind: ReleaseKind, number: int) -> bool:
        """Nobody keeps an account of these."""
        return False


class EncryptedUpdates:
    """Encrypts this participant's updates; `member` is its place in the roster."""

    def __init__(self, codecs: Codecs, member: int, answers: StoredUpdates | Releases, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._codecs, self._member = codecs, member
        self._answers = answers
        self._directory = directory

    def again(self, number: int, question: str) -> Stored | None:
        """The ciphertext that left for this round and question before. Raises Refused."""
        return self._answers.again(ReleaseKind.TRAIN, number, question)

    def lost(self, number: int) -> bool:
        """Whether a gate of this participant that is gone has released something in this round."""
        return self._answers.lost(ReleaseKind.TRAIN, number)

    def release(
        self, number: int, question: str, update: Vector, *, reach: float | None, counted: int, encrypt: Encrypt
    ) -> Stored:
        """A fresh ciphertext, stored and paid for. `counted`: the last round whose update is in the model.

        Raises Refused, CodecError, NoiseError and HeError.
        """
        codec = self._codecs.of(number, reach)
        carried = self._carried(counted)

        def make(_: Slot) -> bytes:
            noise = None if self._codecs.plan is None else ReleaseNoise()
            quantised = codec.quantise(update, self._member, noise, carried)
            if quantised.carried is not None:
                with replacing(self._file(number)) as file:
                    np.save(file, quantised.carried)
            return encrypt(number, quantised.points)

        return self._answers.release(ReleaseKind.TRAIN, number, question, make)

    def _file(self, number: int) -> Path:
        return self._directory / f"carried-{number}.npy"

    def _carried(self, counted: int) -> Vector | None:
        """What the last update that counted left; older ones go."""
        for path in self._directory.iterdir():
            if (found := _CARRIED.match(path.name)) is not None and int(found[1]) < counted:
                path.unlink()
        try:
            carried = np.load(self._file(counted), allow_pickle=False)
        except (OSError, ValueError):
            return None
        fits = carried.shape == (self._codecs.layout.size,) and carried.dtype == np.float64
        return carried if fits else None
