"""The one error of what decides on leaving: raised by checks, models and releases; the session sends its code."""

from hanse.api.replies import ReplyCode


class Refused(Exception):
    """Something must not leave; `code` is all that the server learns, the text stays in the owner's namespace."""

    def __init__(self, code: ReplyCode, why: str) -> None:
        super().__init__(why)
        self.code = code
