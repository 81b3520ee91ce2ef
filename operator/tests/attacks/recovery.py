"""Recovery of a shared CKKS key by a server that adds ciphertexts and reads the published sum (Li and Micciancio 2021,
EUROCRYPT, eprint 2020/1533).

A decrypted sum is m = c0 + c1 s with its encryption noise still in it. The published numbers are the real parts of the
slots of m, so m + conj(m) is known exactly when they are precise enough, and

    c1 s + conj(c1) conj(s) = m + conj(m) - c0 - conj(c0).

At each root of the ring that is one equation in two unknowns, the values of s at the root and at its inverse. Two sums
under one key, of two rounds or of two chunks of one model, give both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.attacks.ring import Polynomial, Ring, polynomial_of, slots_of

Reals = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pair:
    """A ciphertext (c0, c1) modulo the ring's prime, as values in SEAL's order."""

    c0: Polynomial
    c1: Polynomial


@dataclass(frozen=True)
class Published:
    """A sum as the server added it, and its slots as the participants published them (all N/2 of them)."""

    total: Pair
    slots: Reals
    scale: float


def recover(ring: Ring, first: Published, second: Published) -> Polynomial | None:
    """The secret key's coefficients (-1, 0, 1), or None where the solution is no key."""
    equations = []
    for seen in (first, second):
        doubled = np.rint(polynomial_of(2 * seen.slots * seen.scale, ring.n)).astype(np.int64).astype(object)
        known = ring.transform(doubled % ring.p) - seen.total.c0 - ring.conjugate(seen.total.c0)
        equations.append((seen.total.c1, ring.conjugate(seen.total.c1), known % ring.p))
    (a1, b1, r1), (a2, b2, r2) = equations
    solved = (r1 * b2 - r2 * b1) * ring.inverse((a1 * b2 - a2 * b1) % ring.p) % ring.p
    return as_key(ring, solved)


def divided(ring: Ring, total: Pair, plain: Polynomial) -> Polynomial | None:
    """The key where a ciphertext's whole polynomial `plain` (coefficients, with noise) is known: one will do."""
    solved = (ring.transform(plain % ring.p) - total.c0) * ring.inverse(total.c1) % ring.p
    return as_key(ring, solved)


def as_key(ring: Ring, values: Polynomial) -> Polynomial | None:
    """The coefficients if they are a ternary key's."""
    found = ring.back(values)
    return found if set(found) <= {-1, 0, 1} else None


def read(ring: Ring, key: Polynomial, ciphertext: Pair, scale: float) -> Reals:
    """The slots of anyone's ciphertext, with the key."""
    plain = ring.back((ciphertext.c0 + ciphertext.c1 * ring.transform(key % ring.p)) % ring.p)
    return np.asarray(slots_of(plain).real / scale)


def words(ciphertext: Any, ring: Ring, primes: int) -> Pair:
    """c0 and c1 of a TenSEAL or sealapi ciphertext modulo its first prime; it has so many `primes`."""
    parts: Sequence[Polynomial] = [
        np.asarray([ciphertext[part * primes * ring.n + i] for i in range(ring.n)], object) for part in (0, 1)
    ]
    return Pair(*parts)
