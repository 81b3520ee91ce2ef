"""What an owner's terms have against a job: the one form of `hanse.api.terms` and `hanse.api.encryptionterms`."""

from dataclasses import dataclass

from hanse.api.conditions import Reason
from hanse.api.meta import MESSAGE_MAX, clip_message


@dataclass(frozen=True)
class Objection:
    """What stands in the way, for a person, and the next step."""

    reason: Reason
    message: str
    next_step: str

    def __str__(self) -> str:
        """In a condition: where it is too long the next step stays."""
        return f"{clip_message(self.message, MESSAGE_MAX - len(self.next_step) - 2)}: {self.next_step}"
