"""The attacker of `test_ckks_tutorial` against Hanse's engines: it has every ciphertext and every decrypted sum.

BFV's sums are exact, so what would solve for the key, the noise, is not in them. Hanse's CKKS rounds them to the same
integers and floods them before that. Each attack has its control: with the noise in its hands it succeeds.
"""

from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from hanse.runtime.he import Points
from hanse.runtime.he.bfv import PARAMETERS as BFV
from hanse.runtime.he.bfv import Bfv
from hanse.runtime.he.blob import HEADER_BYTES
from hanse.runtime.he.ckks import FLOODING, Ckks
from hanse.runtime.he.ckks import PARAMETERS as CKKS
from hanse.runtime.he.engine import engine_of
from hanse.runtime.he.keys import Material
from hanse.runtime.he.lanes import pack
from hanse.runtime.he.planes import chunk_type, read
from tests.attacks import recovery
from tests.attacks.recovery import Pair, Published, Reals, as_key, divided, recover
from tests.attacks.ring import Polynomial, Ring

GENERATOR = np.random.default_rng(5)
CLIENTS, SCALE = 3, CKKS.scale


def updates(count: int) -> list[Points]:
    return [GENERATOR.integers(-20_000, 20_000, count) for _ in range(CLIENTS)]


def opened(total: bytes, bits: int, primes: int, degree: int) -> list[np.ndarray[Any, Any]]:
    """The coefficients of a total's chunks, [2, primes, degree] each: no key is needed."""
    found = np.frombuffer(total[HEADER_BYTES:], chunk_type(bits, (2, primes, degree), seeded=False))
    return [read(chunk, bits).astype(object) for chunk in found]


def secret_of(parameters: Any, seed: bytes, ring: Ring) -> Polynomial:
    """The true key's values, in SEAL's order."""
    secret = sealapi.KeyGenerator(parameters.context(seed)).secret_key()  # held: its data are a view
    key = secret.data()
    return np.asarray([key[i] for i in range(ring.n)], object)


class BfvWorld:
    """Rounds of three clients under one key, as the server sees them, and the truth for controls."""

    def __init__(self) -> None:
        self.engine, self.kernel = engine_of("BFV"), Bfv()
        self.key = self.engine.keygen()
        parameters = BFV.to_seal()
        first = self.kernel._seal.primes
        self.q, self.t = first[0] * first[1], parameters.plain_modulus().value()
        self.ring = Ring(BFV.degree, first[0])
        self.count = 3 * BFV.degree
        self.clients = updates(self.count)
        self.uploads = [self.engine.encrypt(self.key, points) for points in self.clients]
        self.total = self.engine.add(self.uploads, self.count)
        self.sum = self.engine.decrypt(self.key, self.total, self.count)
        self.truth = secret_of(BFV, Material.parse(self.key, "BFV", of_round=False).seed, self.ring)

    def pair(self, total: bytes) -> Pair:
        (chunk,) = opened(total, 40, 2, BFV.degree)
        return Pair(self.ring.transform(chunk[0][0]), self.ring.transform(chunk[1][0]))

    def scaled(self, points: Points) -> Polynomial:
        """round(q m / t): what c0 + c1 s is of these points, without its noise."""
        words = pack(points, BFV.degree)
        words[words < 0] += self.t
        plain = sealapi.Plaintext()
        sealapi.BatchEncoder(self.kernel._seal.context).encode(words.tolist(), plain)
        coefficients = [plain[i] if i < plain.coeff_count() else 0 for i in range(BFV.degree)]
        return np.asarray([(self.q * c + (self.t + 1) // 2) // self.t for c in coefficients], object)


@pytest.fixture(scope="module")
def bfv() -> BfvWorld:
    return BfvWorld()


def test_bfv_ciphertexts_and_exact_sums_give_no_key(bfv: BfvWorld) -> None:
    assert (bfv.sum == sum(bfv.clients)).all()
    assert divided(bfv.ring, bfv.pair(bfv.total), bfv.scaled(bfv.sum)) is None
    # The same for its own upload, when the attacker is a participant's accomplice and knows one update.
    own = bfv.engine.add(bfv.uploads[:1], bfv.count)
    assert divided(bfv.ring, bfv.pair(own), bfv.scaled(bfv.clients[0])) is None


def test_control_with_the_noise_bfv_gives_the_key(bfv: BfvWorld) -> None:
    pair, plain = bfv.pair(bfv.total), bfv.scaled(bfv.sum)
    noise = bfv.ring.back((pair.c0 + pair.c1 * bfv.truth - bfv.ring.transform(plain % bfv.ring.p)) % bfv.ring.p)
    assert 0 < np.abs(noise).max() <= 20 * CLIENTS  # what is missing is small, and it is all that is missing
    found = divided(bfv.ring, pair, plain + noise)
    assert found is not None
    assert (bfv.ring.transform(found % bfv.ring.p) == bfv.truth).all()


def test_many_sums_of_one_key_average_to_nothing(bfv: BfvWorld) -> None:
    """A difference of two known sums, and one ciphertext taken twice: every known relation keeps its noise."""
    total, plain = bfv.pair(bfv.total), bfv.scaled(bfv.sum)
    other = bfv.pair(bfv.engine.add(bfv.uploads[:2], bfv.count))
    p = bfv.ring.p
    difference = Pair((total.c0 - other.c0) % p, (total.c1 - other.c1) % p)
    third = bfv.scaled(bfv.clients[2])
    assert divided(bfv.ring, difference, plain - bfv.scaled(bfv.clients[0] + bfv.clients[1])) is None
    assert divided(bfv.ring, difference, third) is None
    again = bfv.engine.encrypt(bfv.key, bfv.clients[2])
    assert again != bfv.uploads[2]
    fresh = bfv.pair(bfv.engine.add([again], bfv.count))
    old = bfv.pair(bfv.engine.add(bfv.uploads[2:], bfv.count))
    equal = Pair((fresh.c0 - old.c0) % p, (fresh.c1 - old.c1) % p)
    assert divided(bfv.ring, equal, np.zeros(bfv.ring.n, object)) is None


class CkksWorld:
    """Two rounds of three clients; a model of two chunks, so that a round alone has two sums under one key."""

    SLOTS = 2048

    def __init__(self) -> None:
        self.engine, self.kernel = engine_of("CKKS"), Ckks()
        self.key = self.engine.keygen()
        self.ring = Ring(2 * self.SLOTS, self.kernel._seal.primes[0])
        self.count = 2 * self.SLOTS
        self.keys = {number: self.engine.round_key(self.key, number) for number in (1, 2)}
        self.clients = {number: updates(self.count) for number in self.keys}
        self.uploads = {n: [self.engine.encrypt(self.keys[n], p) for p in self.clients[n]] for n in self.keys}
        self.totals = {n: self.engine.add(self.uploads[n], self.count) for n in self.keys}
        self.sums = {n: self.engine.decrypt(self.keys[n], self.totals[n], self.count) for n in self.keys}

    def pairs(self, total: bytes) -> list[Pair]:
        return [Pair(chunk[0][0], chunk[1][0]) for chunk in opened(total, 56, 1, self.ring.n)]

    def recovered(self, values: dict[int, Reals], where: list[tuple[int, int]]) -> Polynomial | None:
        """`where`: round and chunk of the two sums that are solved with."""
        slots = slice(0, self.SLOTS), slice(self.SLOTS, None)
        seen = [Published(self.pairs(self.totals[n])[c], values[n][slots[c]], SCALE) for n, c in where]
        return recover(self.ring, seen[0], seen[1])

    def raw(self, number: int) -> Reals:
        """What CKKS decrypts before flooding and rounding."""
        return self.kernel.approximate(self.keys[number], memoryview(self.totals[number])[HEADER_BYTES:])


@pytest.fixture(scope="module")
def ckks() -> CkksWorld:
    return CkksWorld()


@pytest.mark.parametrize("where", [[(1, 0), (1, 1)], [(1, 0), (2, 0)], [(1, 1), (2, 1)]], ids=str)
def test_ckks_rounded_sums_give_no_key(ckks: CkksWorld, where: list[tuple[int, int]]) -> None:
    assert all((ckks.sums[n] == sum(ckks.clients[n])).all() for n in ckks.sums)
    assert ckks.recovered({n: s.astype(np.float64) for n, s in ckks.sums.items()}, where) is None


def test_ckks_flooded_sums_give_no_key_even_without_rounding(ckks: CkksWorld) -> None:
    flooded = {n: ckks.raw(n) + GENERATOR.uniform(-FLOODING, FLOODING, ckks.count) for n in ckks.keys}
    assert ckks.recovered(flooded, [(1, 0), (1, 1)]) is None


def test_control_raw_sums_give_that_rounds_key_and_no_others(ckks: CkksWorld) -> None:
    values = {n: ckks.raw(n) for n in ckks.keys}
    key = ckks.recovered(values, [(1, 0), (1, 1)])
    assert key is not None
    upload = {n: ckks.pairs(ckks.engine.add(ckks.uploads[n][:1], ckks.count))[0] for n in ckks.keys}
    stolen = recovery.read(ckks.ring, key, upload[1], SCALE)
    assert (np.rint(stolen) == ckks.clients[1][0][: ckks.SLOTS]).all()
    # Round 2 has another key: the one of round 1 reads nothing of it, and two rounds solve to nothing together.
    other = recovery.read(ckks.ring, key, upload[2], SCALE)
    assert abs(np.corrcoef(other, ckks.clients[2][0][: ckks.SLOTS])[0, 1]) < 0.1
    assert ckks.recovered(values, [(1, 0), (2, 0)]) is None


def test_a_solution_that_is_no_key_is_told_from_one(bfv: BfvWorld) -> None:
    """The attacks above end in `as_key`: it takes the true key, and not one with a single coefficient changed."""
    assert as_key(bfv.ring, bfv.truth) is not None
    changed = bfv.ring.back(bfv.truth)
    changed[7] = 2
    assert as_key(bfv.ring, bfv.ring.transform(changed % bfv.ring.p)) is None
