"""Who adds up which half of a round's ciphertexts. Used by `rounds_votes`, made by the encrypted round loop.

Half a ciphertext says nothing, also to who holds the job's key; both together are an update. So where the plan keeps
halves apart a gate that was sent one half of a round is never sent the other one: who was sent what is in the
checkpoint before it is sent, and a server that is killed and comes back keeps to it.
"""

from collections.abc import Collection, Mapping, Sequence

from hanse.api.encryption import HALVES, Half
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import VerifyRequest
from hanse.runtime.agreement.statements import Recomputed
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_fleet import Question
from hanse.runtime.flower.rounds_relay import Relay, question
from hanse.runtime.he import Halves


class Verifying:
    """The verifiers of one round, whose list is decided. `uploads`: by participant's name."""

    def __init__(self, relay: Relay, state: EncryptedState, number: int, uploads: Mapping[str, Halves]) -> None:
        self.points = state.saved.points
        self.recomputed: dict[Half, dict[int, Recomputed]] = {half: {} for half in HALVES}
        self._relay, self._state, self._number, self._uploads = relay, state, number, uploads
        pending = state.saved.pending
        self._sent: dict[str, Half] = {} if pending is None else pending.halves

    @property
    def done(self) -> bool:
        """Enough gates have added up each half."""
        return all(not self._lacking(half) for half in HALVES)

    @property
    def told(self) -> str:
        """How far it is, for the progress."""
        return " and ".join(f"{len(self.recomputed[half])} sums of {half.lower()}" for half in HALVES)

    @property
    def words(self) -> list[Recomputed]:
        """What the verifiers have signed."""
        return [one for half in HALVES for one in self.recomputed[half].values()]

    def choose(self, order: Sequence[int]) -> dict[int, Half]:
        """Who is to add up which half now, of those who can be asked, the first ones first: one half each."""
        chosen: dict[int, Half] = {}
        for half in HALVES:
            free = [i for i in order if i not in chosen and i not in self.recomputed[half] and self._may(i, half)]
            chosen |= dict.fromkeys(free[: self._lacking(half)], half)
        return chosen

    def possible(self, left: Collection[int]) -> bool:
        """Whether those who are left can finish both halves, were they all there."""
        able = {half: {i for i in left if self._may(i, half)} - self.recomputed[half].keys() for half in HALVES}
        needed = {half: self._lacking(half) for half in HALVES}
        enough = all(len(able[half]) >= needed[half] for half in HALVES)
        if not self._relay.plan.keeps_halves_apart:
            return enough
        return enough and len(able["Bodies"] | able["Seeds"]) >= sum(needed.values())

    def questions(self, request: VerifyRequest, adders: Mapping[int, Half]) -> dict[int, Question]:
        """What verifiers are asked; durably noted before it is sent."""
        if not adders:
            return {}
        self._sent |= {self._relay.name(index): half for index, half in adders.items()}
        self._state.save()
        made = {half: self._with(request, half) for half in set(adders.values())}
        return {index: made[half] for index, half in adders.items()}

    def _with(self, request: VerifyRequest, half: Half) -> Question:
        arrays = {name: halves[half] for name, halves in self._uploads.items()}
        message = request.model_copy(update={"half": half})
        return question(messages.VERIFY, self._number, message, record=messages.CIPHERTEXTS, arrays=arrays)

    def _lacking(self, half: Half) -> int:
        return max(self._relay.plan.verifiers - len(self.recomputed[half]), 0)

    def _may(self, index: int, half: Half) -> bool:
        return not self._relay.plan.keeps_halves_apart or self._sent.get(self._relay.name(index), half) == half
