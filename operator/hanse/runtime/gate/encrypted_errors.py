"""What the parts of an encrypted job raise, as the codes that the server learns. Used by `encrypted`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hanse.api.replies import ReplyCode
from hanse.runtime.aggregation import NonFiniteError
from hanse.runtime.codec import MessageError, NotFiniteError
from hanse.runtime.gate.refused import Refused
from hanse.runtime.he import CiphertextInvalid, DecryptionImplausible, KeyInvalid, TooManyCiphertexts
from hanse.runtime.shared import NotNextError, StateInvalidError

#: Everything else is this gate's own failure: GATE_FAILED.
_CODES: Final[tuple[tuple[type[Exception], ReplyCode], ...]] = (
    (CiphertextInvalid, ReplyCode.CIPHERTEXT_INVALID),
    (TooManyCiphertexts, ReplyCode.CIPHERTEXT_INVALID),
    (DecryptionImplausible, ReplyCode.SUM_REFUSED),
    (MessageError, ReplyCode.SUM_REFUSED),
    (KeyInvalid, ReplyCode.KEY_REFUSED),
    (NonFiniteError, ReplyCode.NON_FINITE_UPDATE),
    (NotFiniteError, ReplyCode.NON_FINITE_UPDATE),
    (NotNextError, ReplyCode.STALE_ROUND),
    (StateInvalidError, ReplyCode.STATE_REFUSED),
)


@contextmanager
def refusing() -> Iterator[None]:
    """Raises Refused with the code of what was raised inside; what has none passes as it is."""
    try:
        yield
    except tuple(kind for kind, _ in _CODES) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        raise Refused(code, f"{type(error).__name__}: {error}") from error
