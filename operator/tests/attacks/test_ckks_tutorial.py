"""Positive control of everything that encryption claims: shared-key CKKS as tutorials use it does not hide updates.

TenSEAL, N = 8192, [60, 40, 40, 60], scale 2^40, one key for all clients and rounds, and a server that has no key: it
adds the ciphertexts, and reads the published models like anyone. `test_encrypted_keys` has the same attacker against
Hanse's engines.
"""

import numpy as np
import pytest
import tenseal
import tenseal.sealapi  # registers the types that contexts give

from tests.attacks.recovery import Pair, Published, Reals, read, recover, words
from tests.attacks.ring import Polynomial, Ring

SLOTS, PRIMES, SCALE = 4096, 3, 2.0**40
CLIENTS, ROUNDS = 3, 2


class Tutorial:
    """Three clients with one context, and what their server sees of two rounds."""

    def __init__(self, magnitude: float) -> None:
        self._context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
        self._context.global_scale = SCALE
        first = self._context.seal_context().data.first_context_data().parms().coeff_modulus()[0]
        self.ring = Ring(8192, first.value())
        generator = np.random.default_rng(7)
        self.updates = generator.normal(scale=magnitude, size=(ROUNDS, CLIENTS, SLOTS))
        self.uploads: list[list[Pair]] = []
        self.totals: list[Pair] = []
        self.published: list[Reals] = []
        for updates in self.updates:
            encrypted = [tenseal.ckks_vector(self._context, list(update)) for update in updates]
            total = encrypted[0] + encrypted[1] + encrypted[2]
            self.uploads.append([self._seen(vector) for vector in encrypted])
            self.totals.append(self._seen(total))
            self.published.append(np.asarray(total.decrypt()) / CLIENTS)

    def _seen(self, vector: tenseal.CKKSVector) -> Pair:
        return words(vector.ciphertext()[0], self.ring, PRIMES)

    def is_key(self, found: Polynomial) -> bool:
        true = self._context.secret_key().data.data()
        return bool((self.ring.transform(found % self.ring.p) == [true[i] for i in range(self.ring.n)]).all())


def attack(world: Tutorial, published: list[Reals]) -> Polynomial | None:
    known = [Published(t, p * CLIENTS, SCALE) for t, p in zip(world.totals, published, strict=True)]
    return recover(world.ring, known[0], known[1])


@pytest.mark.parametrize(("magnitude", "dtype"), [(0.05, np.float64), (5e-5, np.float32)], ids=["doubles", "float32"])
def test_two_published_rounds_give_the_key_and_a_clients_update(magnitude: float, dtype: type) -> None:
    world = Tutorial(magnitude)
    key = attack(world, [p.astype(dtype).astype(np.float64) for p in world.published])
    assert key is not None
    assert world.is_key(key)
    stolen = read(world.ring, key, world.uploads[0][1], SCALE)
    np.testing.assert_allclose(stolen, world.updates[0, 1], atol=1e-6)
    assert abs(np.corrcoef(stolen, world.updates[0, 1])[0, 1]) > 0.999


def test_numbers_without_the_noise_give_no_key() -> None:
    """What makes the attack work is the noise in the published numbers: rounded far above it, they solve to nothing."""
    world = Tutorial(0.05)
    assert attack(world, [np.rint(p * 2.0**18) / 2.0**18 for p in world.published]) is None
