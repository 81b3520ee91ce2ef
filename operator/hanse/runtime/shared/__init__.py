"""The model that the gates of an encrypted job hold together: each applies the decrypted mean, all get equal bits.

Used by the gate alone; the server never holds it. Pure: no file, no network, no key.
"""

from hanse.runtime.shared.errors import NotNextError, SharedModelError, StateInvalidError
from hanse.runtime.shared.model import Candidate, SharedModel
from hanse.runtime.shared.state import Digests

__all__ = ["Candidate", "Digests", "NotNextError", "SharedModel", "SharedModelError", "StateInvalidError"]
