"""What can go wrong with homomorphic encryption.

HeError
├── KeyInvalid             key material that this engine did not make, or that expands to another key on this machine
├── PointOutOfRange        a point that does not fit into its lane
├── CountMismatch          more or fewer points than the model has
├── TooManyCiphertexts     more summands than the engine's noise allows, or none
├── CiphertextInvalid      bytes that are no ciphertext of this engine and size, or that killed the worker parsing them
├── DecryptionImplausible  a total that decrypts to no sum of points: another key, or not a sum of ciphertexts
└── WorkerLost             a worker process died of something else than what it was given
"""


class HeError(Exception):
    """Encryption, addition or decryption was not done."""


class KeyInvalid(HeError):
    """Key material that this engine did not make, or that expands to another key on this machine."""


class PointOutOfRange(HeError):
    """A point that does not fit into its lane."""


class CountMismatch(HeError):
    """More or fewer points than the model has."""


class TooManyCiphertexts(HeError):
    """More summands than the engine's noise allows, or none."""


class CiphertextInvalid(HeError):
    """Bytes that are no ciphertext of this engine and size, or that killed the worker that parsed them."""


class DecryptionImplausible(HeError):
    """A total that decrypts to no sum of points: it is under another key, or no sum of ciphertexts."""


class WorkerLost(HeError):
    """A worker process died of something else than what it was given."""
