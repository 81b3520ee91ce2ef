"""Vectorised draws of the discrete Gaussian by inversion of an integer CDF; called by ReleaseNoise.

A draw takes one 64-bit word: its lowest bit is the sign, the other 63 are compared with the thresholds' first 63 bits.
Equality (once in about 2^50 draws) is settled by 448 more bits. No float is compared anywhere.

Sigmas above BASE_SIGMA would need long tables. There X = Y + k Z with Y and Z independent, of parameters s and t with
sigma^2 = s^2 + k^2 t^2 (Peikert 2010; Poeppelmann, Ducas, Gueneysu 2014, lemma 2). Completing the square,

    P(X = x) is proportional to exp(-x^2 / (2 sigma^2)) * sum over z in Z of exp(-(z - c)^2 / (2 v^2)),
    c = k x t^2 / sigma^2,  v = s t / sigma,

and by Poisson's summation the last sum is v sqrt(2 pi) (1 + e) with |e| <= d = 2 (exp(-2 pi^2 v^2) + exp(-8 pi^2 v^2)
+ ...) for every c. So P(X = x) is within the factors (1 - d) / (1 + d) and (1 + d) / (1 - d) of the exact law, and
their total variation distance is at most d / (1 - d). Up to FINE_SIGMA s = t, above it Z is such a sum itself; v >= 4
and d < 2^-450 in both cases.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hanse.runtime.noise import table
from hanse.runtime.noise.errors import SamplerDeltaError, SigmaError
from hanse.runtime.noise.stream import Stream

MIN_SIGMA: Final = 0.25
MAX_SIGMA: Final = float(2**26)  # sums of it and of any count of records are far below 2^63
FINE_SIGMA: Final = float(2**19)  # two draws; above it three
BASE_SIGMA: Final = 2048  # of the longest table: 55,000 thresholds
SHARE_OF_DELTA: Final = 0.01

_WIDE_STRIDE: Final = 256
_CHUNK: Final = 1 << 16  # words at a time: temporary arrays stay in the processor's cache
_BUCKET_BITS: Final = 16
_FIRST_BITS: Final = 63
_LOW_WORDS: Final = 7
_LOW_BITS: Final = 64 * _LOW_WORDS


class _Inversion:
    """Draws from one table."""

    def __init__(self, variance: Fraction) -> None:
        self._thresholds = table.cdf(variance)
        self._first = np.array([threshold >> _LOW_BITS for threshold in self._thresholds], np.uint64)
        edges = np.arange(1 << _BUCKET_BITS, dtype=np.uint64) << np.uint64(_FIRST_BITS - _BUCKET_BITS)
        # The answer for all words of a bucket (equal upper bits), or -1 where a threshold lies in it.
        below = np.searchsorted(self._first, edges, side="left")
        after = np.append(below[1:], len(self._first))
        self._guide = np.where(below == after, below, -1).astype(np.int32)

    def draw(self, stream: Stream, count: int) -> NDArray[np.int64]:
        """`count` independent values."""
        words = stream.words(count)
        value = words >> np.uint64(1)
        magnitude = self._guide[(value >> np.uint64(_FIRST_BITS - _BUCKET_BITS)).astype(np.intp)].astype(np.int64)
        search = np.flatnonzero(magnitude < 0)
        wanted = value[search]
        found = np.searchsorted(self._first, wanted, side="left")
        magnitude[search] = found
        candidate = self._first[np.minimum(found, len(self._first) - 1)]
        for index in search[np.flatnonzero(candidate == wanted)]:
            magnitude[index] = self._settle(int(value[index]), stream)
        sign = (words & np.uint64(1)).astype(np.int64)
        return (magnitude ^ -sign) + sign  # two's complement: -magnitude where the sign bit is set

    def _settle(self, first: int, stream: Stream) -> int:
        """The number of thresholds that are not above the word once its remaining bits are drawn."""
        draw = first
        for word in stream.words(_LOW_WORDS).tolist():
            draw = (draw << 64) | word
        low, high = 0, len(self._thresholds)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._thresholds[middle] <= draw else (low, middle)
        return low


@dataclass(frozen=True)
class Sampler:
    """The discrete Gaussian of one sigma; make it with `sampler`, which keeps the tables."""

    sigma: float
    parts: tuple[tuple[int, _Inversion], ...]  # what is drawn from each table counts so many times

    def draw(self, stream: Stream, count: int) -> NDArray[np.int64]:
        """`count` independent values, int64 of shape (count,)."""
        values = np.zeros(count, np.int64)
        for start in range(0, count, _CHUNK):
            part = values[start : start + _CHUNK]
            for stride, inversion in self.parts:
                part += stride * inversion.draw(stream, len(part))
        return values


@lru_cache(maxsize=8)
def sampler(sigma: float) -> Sampler:
    """The sampler of standard deviation parameter `sigma` (a float is taken as the rational number it is).

    Raises SigmaError outside of MIN_SIGMA to MAX_SIGMA.
    """
    terms, _ = _terms(_variance(sigma))
    return Sampler(sigma, tuple((stride, _inversion(variance)) for stride, variance in terms))


def total_variation(sigma: float) -> float:
    """Upper bound of the distance of one draw to the exact law; makes no table. Raises SigmaError as `sampler` does."""
    terms, distance = _terms(_variance(sigma))
    return math.fsum([distance, *(table.total_variation(variance) for _, variance in terms)]) * (1 + 1e-9)


def sampler_delta(draws: Mapping[float, int], epsilon: float, delta: float) -> float:
    """What the draws of a job add to delta, at most; `draws` has their number for each sigma.

    If the exact mechanism is (epsilon, delta)-DP, one within total variation t of it is (epsilon, delta +
    (1 + e^epsilon) t)-DP, and t adds up over independent draws. Raises SamplerDeltaError above 1 % of `delta`.
    """
    distance = math.fsum(total_variation(sigma) * count for sigma, count in draws.items())
    added = distance * (1 + math.exp(min(epsilon, 700.0)))
    if not added <= SHARE_OF_DELTA * delta:
        raise SamplerDeltaError(f"the sampler adds {added:.1e} to delta, more than 1 % of {delta:g}")
    return added


@lru_cache(maxsize=8)
def _inversion(variance: Fraction) -> _Inversion:
    return _Inversion(variance)


def _variance(sigma: float) -> Fraction:
    if not MIN_SIGMA <= sigma <= MAX_SIGMA:
        raise SigmaError(f"noise of {sigma:g} grid steps: the sampler draws {MIN_SIGMA:g} to {MAX_SIGMA:g}")
    return Fraction(sigma) ** 2


def _terms(variance: Fraction) -> tuple[list[tuple[int, Fraction]], float]:
    """Strides and variances of what is summed, and how far the sum's law is from the exact one."""
    if variance <= BASE_SIGMA**2:
        return [(1, variance)], 0.0
    if variance <= FINE_SIGMA**2:
        stride = math.isqrt(math.ceil(variance / BASE_SIGMA**2) - 2) + 1  # smallest with 1 + stride^2 >= the quotient
        part = variance / (1 + stride**2)
        return [(1, part), (stride, part)], _convolution_distance(part * part / variance)
    near = Fraction(BASE_SIGMA**2)
    far = (variance - near) / _WIDE_STRIDE**2
    terms, distance = _terms(far)
    scaled = [(_WIDE_STRIDE * stride, part) for stride, part in terms]
    return [(1, near), *scaled], distance + _convolution_distance(near * far / variance)


def _convolution_distance(square: Fraction) -> float:
    """d / (1 - d) for v^2 = `square`; the factor 2.01 covers the sum's other terms and this float's rounding."""
    deviation = 2.01 * math.exp(-2 * math.pi**2 * float(square)) + 2.0**-1000
    return deviation / (1 - deviation) * (1 + 1e-9)
