"""What is wrong with a model that gates hold together; raised by `model` and `sealed`.

SharedModelError
├── NotNextError        a round that is not after the committed one, or a candidate of another base
└── StateInvalidError   bytes that are not a state of this job
"""


class SharedModelError(Exception):
    """The shared model cannot do what was asked; it is as before."""


class NotNextError(SharedModelError):
    """A round that is not after the committed one, or a candidate that started from another base."""


class StateInvalidError(SharedModelError):
    """Bytes that are not a state of this job."""
