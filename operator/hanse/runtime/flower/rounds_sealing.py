"""The committed state, sealed again for a gate that lacks it: by one gate after the other, until one has it.

Used by the encrypted round loop. Rounds are not all sealed (`checkpoint.everyRounds`), a sealed state may be damaged,
and who sealed it may have lied; so any gate that stands at the commit is asked, each once.
"""

from dataclasses import dataclass, field

from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages
from hanse.runtime.agreement.messages import SealReply, SealRequest
from hanse.runtime.flower.rounds_encrypted_state import EncryptedState
from hanse.runtime.flower.rounds_keys import Keys
from hanse.runtime.flower.rounds_relay import Relay, bytes_of, question
from hanse.runtime.refused import Refused


@dataclass
class Sealing:
    """`again` when somebody lacks the committed state, `sealed_by` when a round has brought one."""

    relay: Relay
    keys: Keys
    state: EncryptedState
    _round: int = 0
    _asked: set[int] = field(default_factory=set)

    def sealed_by(self, number: int, index: int | None) -> None:
        """Who has sealed the state after a round already."""
        self._round, self._asked = number, set() if index is None else {index}

    def again(self) -> bool:
        """Have it sealed by somebody else; whether there is a new one, on disk."""
        commit = self.state.saved.commit
        if commit is None:
            return False
        if self._round != commit.round:
            self.sealed_by(commit.round, None)
        for index in sorted(self.keys.ready - self._asked):
            self._asked.add(index)
            if (sealed := self._ask(index, commit)) is not None:
                self.state.seal(commit.round, sealed)
                self.state.save()
                return True
        return False

    def _ask(self, index: int, commit: messages.Commit) -> bytes | None:
        def check(reply: SealReply, name: str) -> None:
            if reply.round != commit.round:
                raise Refused(ReplyCode.STATE_REFUSED, f"{name} stands at round {reply.round}")

        asked = question(messages.SEAL, commit.round, SealRequest(commit=commit))
        answer = self.relay.ask({index: asked})[index]
        reply = self.relay.read(index, answer, SealReply, check)
        if not isinstance(reply, SealReply):
            self.relay.note({index: reply}, [])
            self.keys.drop([(index, reply)])
            return None
        sealed = bytes_of(answer, messages.SEALED)
        return None if sealed is None else sealed.tobytes()
