"""What can go wrong between an update and its bytes; on any of these the gate releases nothing.

CodecError
├── LayoutError          arrays that are not the layout's, or nothing to share
├── GridTooCoarseError   the lanes are too few bits for this many parameters and this much noise
├── NotFiniteError       an update holds NaN or infinity
├── NoiseMissingError    a private plan without noise, or noise without a plan
└── MessageError         bytes that are no message of this codec
"""


class CodecError(Exception):
    """An update and its bytes do not fit."""


class LayoutError(CodecError):
    """Arrays that are not the layout's, or nothing to share."""


class GridTooCoarseError(CodecError):
    """The lanes are too few bits for this many parameters and this much noise."""


class NotFiniteError(CodecError):
    """An update holds NaN or infinity."""


class NoiseMissingError(CodecError):
    """A private plan without noise, or noise without a plan."""


class MessageError(CodecError):
    """Bytes that are no message of this codec."""
