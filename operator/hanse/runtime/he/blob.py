"""The bytes of a ciphertext: a header of 20 bytes and chunks of fixed size. Called by the engines and the workers.

| bytes | what |
|---|---|
| 4 | "HHE1" |
| 1 | scheme: 0 None, 1 BFV, 2 CKKS |
| 1 | form: 1 upload from seeds, 2 upload under a public key, 3 total; halves: `Form` |
| 2 | zero |
| 4 | summands: 1 in an upload |
| 8 | points |

Little-endian. The header is bound by no key: whoever wants to know what a blob is looks at the signature over it.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from hanse.runtime.he.errors import CiphertextInvalid

if TYPE_CHECKING:
    from hanse.api.encryption import Half

_HEADER: Final = struct.Struct("<4sBBHIQ")
_MAGIC: Final = b"HHE1"
HEADER_BYTES: Final = _HEADER.size
SCHEMES: Final = ("None", "BFV", "CKKS")


class Form(IntEnum):
    """What a blob is."""

    SEEDED = 1
    PUBLIC = 2
    TOTAL = 3
    BODIES = 4  # half an upload from seeds
    SEEDS = 5
    BODY_SUMS = 6  # half a total
    SEED_SUMS = 7


#: What half an upload is, and half a total.
UPLOAD_HALF: "Final[dict[Half, Form]]" = {"Bodies": Form.BODIES, "Seeds": Form.SEEDS}
TOTAL_HALF: "Final[dict[Half, Form]]" = {"Bodies": Form.BODY_SUMS, "Seeds": Form.SEED_SUMS}
_TOTALS: Final = (Form.TOTAL, *TOTAL_HALF.values())


@dataclass(frozen=True)
class Header:
    """What a blob says of itself."""

    scheme: str
    form: Form
    summands: int
    count: int

    def __bytes__(self) -> bytes:
        return _HEADER.pack(_MAGIC, SCHEMES.index(self.scheme), self.form, 0, self.summands, self.count)


def split(blob: bytes | memoryview, expected: Header, body_bytes: int) -> tuple[int, memoryview]:
    """Summands and body of a blob; an upload has as many summands as `expected` says, a total at most so many.

    Raises CiphertextInvalid for any other scheme, form, number of points or size.
    """
    view = memoryview(blob)
    if len(view) != HEADER_BYTES + body_bytes:
        raise CiphertextInvalid(f"{len(view)} bytes; {expected.scheme} of this size has {HEADER_BYTES + body_bytes}")
    magic, scheme, form, zero, summands, count = _HEADER.unpack(view[:HEADER_BYTES])
    if (magic, zero) != (_MAGIC, 0) or scheme >= len(SCHEMES) or form not in list(Form):
        raise CiphertextInvalid("this is no ciphertext of Hanse")
    found = Header(SCHEMES[scheme], Form(form), summands, count)
    fits = 1 <= summands <= expected.summands if expected.form in _TOTALS else summands == expected.summands
    if (found.scheme, found.form, found.count) != (expected.scheme, expected.form, expected.count) or not fits:
        raise CiphertextInvalid(f"a {_words(found)} in place of a {_words(expected)}")
    return summands, view[HEADER_BYTES:]


def _words(header: Header) -> str:
    return f"{header.scheme} {header.form.name.lower()} of {header.count} points and {header.summands} summands"
