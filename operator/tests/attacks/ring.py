"""Arithmetic in Z_p[X]/(X^N + 1) with p = 1 mod 2N, as SEAL keeps it; what an attacker on ciphertexts needs.

SEAL's number-theoretic transform puts the value at psi^(2 r(i) + 1) at place i, where psi is the smallest primitive
root of order 2N and r reverses the bits of i. Numbers are Python's own, in numpy arrays of dtype object.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Polynomial = np.ndarray[Any, np.dtype[np.object_]]


@dataclass(frozen=True)
class Ring:
    """The ring of degree `n` (a power of two) over the prime `p`."""

    n: int
    p: int

    @cached_property
    def psi(self) -> int:
        """SEAL's root: the smallest of order 2N."""
        exponent, base = (self.p - 1) // (2 * self.n), 2
        while pow(pow(base, exponent, self.p), self.n, self.p) != self.p - 1:
            base += 1
        root = pow(base, exponent, self.p)
        square, smallest = root * root % self.p, root
        for _ in range(self.n - 1):
            root = root * square % self.p
            smallest = min(smallest, root)
        return smallest

    @cached_property
    def reversed_bits(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        bits = self.n.bit_length() - 1
        return np.asarray([int(f"{i:0{bits}b}"[::-1], 2) for i in range(self.n)])

    def powers(self, base: int) -> Polynomial:
        found = [1]
        for _ in range(self.n - 1):
            found.append(found[-1] * base % self.p)
        return np.asarray(found, object)

    def transform(self, coefficients: Polynomial) -> Polynomial:
        """Coefficients to values, in SEAL's order."""
        twisted = coefficients * self.powers(self.psi) % self.p
        return np.asarray(self._fourier(twisted, self.psi * self.psi % self.p)[self.reversed_bits])

    def back(self, values: Polynomial) -> Polynomial:
        """Values in SEAL's order to coefficients from -p/2 to p/2."""
        inverse = pow(self.psi, -1, self.p)
        natural = values[self.reversed_bits]  # its own inverse
        found = self._fourier(natural, inverse * inverse % self.p) * pow(self.n, -1, self.p) % self.p
        found = found * self.powers(inverse) % self.p
        return np.asarray(np.where(found > self.p // 2, found - self.p, found))

    def inverse(self, values: Polynomial) -> Polynomial:
        """One over each value; a zero (there is one in p) stays zero."""
        return np.asarray([pow(int(v), -1, self.p) if v else 0 for v in values], object)

    def conjugate(self, values: Polynomial) -> Polynomial:
        """The polynomial at 1/X: places i and N - 1 - i hold values at inverse roots."""
        return values[::-1]

    def _fourier(self, values: Polynomial, root: int) -> Polynomial:
        """sum_j values[j] root^(jk) for each k: decimation in time over whole rows."""
        found = values[self.reversed_bits].reshape(-1, 1)
        width = 1
        while width < self.n:
            step = pow(root, self.n // (2 * width), self.p)
            factors = [1]
            for _ in range(width - 1):
                factors.append(factors[-1] * step % self.p)
            even, odd = found[0::2], found[1::2] * np.asarray(factors, object) % self.p
            found = np.concatenate([(even + odd) % self.p, (even - odd) % self.p], axis=1)
            width *= 2
        return np.asarray(found.reshape(-1))


def slots_of(coefficients: Polynomial) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """CKKS' decoding, unscaled: the polynomial at zeta^(3^j), zeta = exp(i pi / N), for j < N/2."""
    n = len(coefficients)
    twisted = coefficients.astype(np.float64) * np.exp(1j * np.pi * np.arange(n) / n)
    values = np.fft.ifft(twisted) * n  # place k: at zeta^(2k + 1)
    places, power = [], 1
    for _ in range(n // 2):
        places.append((power - 1) // 2)
        power = power * 3 % (2 * n)
    return np.asarray(values[places])


def polynomial_of(slots: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The real polynomial of degree under `n` whose `slots_of` are these (fewer: the rest are zero)."""
    values, power = np.zeros(n, np.complex128), 1
    for j in range(n // 2):
        value = slots[j] if j < len(slots) else 0
        values[(power - 1) // 2], values[n - 1 - (power - 1) // 2] = value, np.conj(value)
        power = power * 3 % (2 * n)
    twisted = np.fft.fft(values) / n
    return np.asarray((twisted * np.exp(-1j * np.pi * np.arange(n) / n)).real)
