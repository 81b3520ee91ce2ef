"""BFV's parameters, its error, and bytes that must be the same on every machine."""

import hashlib

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from hanse.runtime.he.bfv import PARAMETERS, Bfv
from hanse.runtime.he.blob import Form
from hanse.runtime.he.ckks import PARAMETERS as CKKS_PARAMETERS
from hanse.runtime.he.engine import FACTS
from hanse.runtime.he.keys import Material

SEED = bytes(range(64))
#: Largest error of a fresh symmetric coefficient: SEAL's centred binomial of 42 coins, and one half from scaling.
WORST_ERROR = 21.5


@pytest.fixture(scope="module")
def kernel() -> Bfv:
    return Bfv()


def test_parameters_are_the_published_ones() -> None:
    parameters = PARAMETERS.to_seal()
    assert [prime.value() for prime in parameters.coeff_modulus()] == [1099511390209, 1099511480321, 536813569]
    plain = parameters.plain_modulus().value()
    assert plain == 576460752303415297 < 2**59
    assert plain % (2 * PARAMETERS.degree) == 1
    for each in (PARAMETERS, CKKS_PARAMETERS):
        most = sealapi.CoeffModulus.MaxBitCount(each.degree, sealapi.SEC_LEVEL_TYPE.TC128)
        assert sum(each.moduli) <= most


def test_the_seed_expands_to_the_same_key_everywhere(kernel: Bfv) -> None:
    """Known answers: were they to change, a job's key holders on two versions would hold two keys."""
    _, expanded = kernel._seal.secret(SEED)
    assert hashlib.sha256(expanded).hexdigest() == "278aaa85d7bcbbadbb0786a8b1f80bfa93537e09fc28448fffe111e4d790a107"


def test_a_total_is_the_same_bytes_everywhere(kernel: Bfv) -> None:
    """Known answer: what a verifier on another machine computes of the same uploads."""
    upload = np.zeros(1, kernel._chunks.seeded)
    upload["low"] = 7
    upload["seed"] = np.frombuffer(SEED, np.uint8)
    total = kernel.total(1)
    total.add(memoryview(upload.tobytes()))
    total.add(memoryview(upload.tobytes()))
    assert (
        hashlib.sha256(total.body(0, 1)).hexdigest()
        == "fff58b6bf495c2814c42640d9188eb9265a8031cc2629e81f5eca182851189d5"
    )


def test_the_declared_number_of_clients_is_below_the_worst_error() -> None:
    """Exact whatever is drawn: K errors are below half of what one unit of the plain modulus is scaled to."""
    parameters = PARAMETERS.to_seal()
    first, second, _ = (prime.value() for prime in parameters.coeff_modulus())
    room = first * second / (2 * parameters.plain_modulus().value())
    assert FACTS["BFV"].most_clients * WORST_ERROR * 2**5 < room


@pytest.mark.parametrize(
    ("form", "clients", "least"), [(Form.SEEDED, 10, 14), (Form.SEEDED, 1024, 10), (Form.PUBLIC, 10, 12)]
)
def test_error_margin_in_bits(form: Form, clients: int, least: int) -> None:
    kernel = Bfv(form)
    key = kernel.keygen()
    points = np.full(12288, 255, np.int64)
    total = kernel.total(1)
    for _ in range(clients):
        total.add(memoryview(kernel.encrypt(key, points)))
    body = memoryview(total.body(0, 1))
    assert kernel.noise_budget(key, body) >= least
    np.testing.assert_array_equal(kernel.decrypt(key, body, 12288), clients * points)


def test_an_upload_that_is_refused_half_way_adds_nothing(kernel: Bfv) -> None:
    key = Material.made("BFV", SEED, kernel._seal.secret(SEED)[1]).to_bytes()
    good = kernel.encrypt(key, np.arange(20_000))
    bad = bytearray(kernel.encrypt(key, np.arange(20_000)))
    second_chunk = kernel._chunks.seeded.itemsize
    bad[second_chunk : second_chunk + 40_960] = b"\xff" * 40_960
    total = kernel.total(2)
    total.add(memoryview(good))
    alone = total.body(0, 2)
    with pytest.raises(Exception, match="not below its prime"):
        total.add(memoryview(bytes(bad)))
    assert total.body(0, 2) == alone
