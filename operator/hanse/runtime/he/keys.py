"""Key material and what is public of it. Called by the engines, by gates and by the agreement.

| bytes | what |
|---|---|
| 4 | "HKEY" |
| 1 | scheme: 0 None, 1 BFV, 2 CKKS |
| 1 | kind: 1 a job's key, 2 a round's |
| 64 | seed of SEAL's generator (Blake2xb), from the operating system |
| 32 | SHA-256 of the secret key that the seed expanded to where it was made; zero in a round's key |

A key is its seed: small enough to wrap, and from it a new key for each round is derived alike by all who hold it. The
digest makes a machine on which SEAL expands seeds to something else refuse, not decrypt to garbage.
"""

import hashlib
import secrets
import struct
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hanse.runtime.he.blob import SCHEMES
from hanse.runtime.he.errors import KeyInvalid

_LAYOUT: Final = struct.Struct("<4sBB64s32s")
_MAGIC: Final = b"HKEY"
_JOB: Final = 1
_ROUND: Final = 2
SEED_BYTES: Final = 64
_NO_CHECK: Final = bytes(32)


def fingerprint(key: bytes) -> str:
    """`sha256:…`: one-way, and of the whole key material, so that two keys have two fingerprints (HKDF, RFC 5869)."""
    digest = HKDF(SHA256(), 32, salt=None, info=b"hanse/he/fingerprint/v1").derive(key)
    return f"sha256:{digest.hex()}"


@dataclass(frozen=True, repr=False)
class Material:
    """A key taken apart."""

    scheme: str
    seed: bytes
    check: bytes = _NO_CHECK

    @classmethod
    def new_seed(cls) -> bytes:
        """A seed from the operating system."""
        return secrets.token_bytes(SEED_BYTES)

    @classmethod
    def parse(cls, key: bytes, scheme: str, *, of_round: bool) -> Self:
        """The parts of a job's or a round's key. Raises KeyInvalid for anything else."""
        if len(key) != _LAYOUT.size:
            raise KeyInvalid(f"a key has {_LAYOUT.size} bytes, not {len(key)}")
        magic, number, kind, seed, check = _LAYOUT.unpack(key)
        if magic != _MAGIC or number != SCHEMES.index(scheme):
            raise KeyInvalid(f"this is no key for {scheme}")
        if kind != (_ROUND if of_round else _JOB):
            raise KeyInvalid(
                "a round's key in place of a job's" if kind == _ROUND else "a job's key in place of a round's"
            )
        return cls(scheme, seed, check)

    @classmethod
    def made(cls, scheme: str, seed: bytes, expanded: bytes) -> Self:
        """A job's key from its seed and what that expands to."""
        return cls(scheme, seed, hashlib.sha256(expanded).digest())

    def to_bytes(self, *, of_round: bool = False) -> bytes:
        """The key material."""
        kind = _ROUND if of_round else _JOB
        return _LAYOUT.pack(_MAGIC, SCHEMES.index(self.scheme), kind, self.seed, self.check)

    def of_round(self, number: int) -> bytes:
        """Key material of round `number`, a new seed derived from the job's (HKDF-SHA512)."""
        info = b"hanse/he/round/v1" + struct.pack("<Q", number)
        seed = HKDF(SHA512(), SEED_BYTES, salt=None, info=info).derive(self.seed)
        return Material(self.scheme, seed).to_bytes(of_round=True)

    def confirm(self, expanded: bytes) -> None:
        """Refuse an expansion that is not the maker's. Raises KeyInvalid."""
        if self.check not in (_NO_CHECK, hashlib.sha256(expanded).digest()):
            raise KeyInvalid("this machine expands the key's seed to another key than its maker did")
