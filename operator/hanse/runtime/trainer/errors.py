"""How a trainer ends: the exit code and the text of the termination message. Used within hanse.runtime.trainer."""

from hanse.api.exitcodes import ExitCode
from hanse.api.replies import ReplyCode


class TrainerExit(Exception):
    """The trainer ends with `code`; `reply` is what a message in flight is answered with."""

    def __init__(self, code: ExitCode, text: str, reply: ReplyCode = ReplyCode.TRAINER_DIED) -> None:
        super().__init__(text)
        self.code = code
        self.reply = reply


class GateGone(Exception):
    """The connection to the gate is lost; the gate is a sidecar and comes back."""
