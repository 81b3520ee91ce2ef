"""The one error of what decides on leaving: raised by checks, models, releases and the agreement's checks.

The gate's session sends its code, the server's loop writes its text into the log.
"""

from hanse.api.replies import ReplyCode


class Refused(Exception):
    """Something must not leave or be acted on; `code` is all that the other side learns, the text stays here."""

    def __init__(self, code: ReplyCode, why: str) -> None:
        super().__init__(why)
        self.code = code
