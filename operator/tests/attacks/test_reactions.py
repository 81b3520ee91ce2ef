"""Malformed ciphertexts: whoever may ask a key holder to decrypt what it likes learns the key from how it reacts.

Controls: a decryptor of BFV gives the whole key in one answer, and Hanse's own engine, if it answered anybody, gives
the noise of a sum coefficient by coefficient by whether it refuses; and with the noise `test_engine_keys` has the key.
Real gates get the same ciphertexts. From the server they are refused for their signatures before any is decrypted, so
the codes are the same whatever is in them; a participant, who holds the key anyway, gets one answer for each round.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from hanse.api.encryption import EncryptingScheme
from hanse.api.replies import ReplyCode
from hanse.runtime.agreement import messages as m
from hanse.runtime.agreement.statements import Contribution, digest_of
from hanse.runtime.gate.encrypted_workers import Workers
from hanse.runtime.he import Cipher, DecryptionImplausible, Points, engine_of, split_upload
from hanse.runtime.he.bfv import BITS, PARAMETERS, Bfv
from hanse.runtime.he.blob import HEADER_BYTES
from hanse.runtime.he.keys import Material
from hanse.runtime.he.planes import chunk_type, read, write
from hanse.runtime.he.seal import Seal
from tests.attacks.ring import Ring
from tests.unit.runtime.gate.encrypted_fleet import NAMES, Fleet
from tests.unit.runtime.gate.encrypted_gate import HERE, GateRefused
from tests.unit.runtime.gate.honest_server import Server

DEGREE, PRIMES = PARAMETERS.degree, 2
FULL = chunk_type(BITS, (2, PRIMES, DEGREE), seeded=False)
SEEDED = chunk_type(BITS, (PRIMES, DEGREE), seeded=True)
MODULI = Seal(PARAMETERS).primes
Q, T = MODULI[0] * MODULI[1], PARAMETERS.to_seal().plain_modulus().value()
#: A coefficient that is off by so much decrypts to its neighbour.
EDGE = Q // (2 * T)
#: Under the edge, around where the noise of a sum of three decides, and far above.
SHIFTS = (1, EDGE - 100, EDGE - 20, EDGE - 1, EDGE, EDGE + 20, 3 * EDGE, Q // 3)


def shifted(blob: bytes, by: int, at: int, kind: np.dtype[np.void] = FULL) -> bytes:
    """The same ciphertext with a number added to one coefficient of c0, modulo each prime."""
    body = np.frombuffer(blob[HEADER_BYTES:], kind).copy()
    words = read(body[0], BITS)
    c0 = words[0] if kind is FULL else words
    for index, prime in enumerate(MODULI):
        c0[index, at] = (int(c0[index, at]) + by) % prime
    write(words, BITS, body[0])
    return blob[:HEADER_BYTES] + body.tobytes()


# --- controls: what a decryptor that answers anybody gives away -------------------------------------------------------


@dataclass
class Oracle:
    """A key holder that decrypts what it gets. `truth`: coefficients of the key."""

    key: bytes = field(default_factory=lambda: engine_of("BFV").keygen())

    def __post_init__(self) -> None:
        self.engine, self.kernel = engine_of("BFV"), Bfv()
        self.points = [np.arange(100) * n for n in (1, -2, 3)]
        self.total = self.engine.add([self.engine.encrypt(self.key, p) for p in self.points], 100)

    def refuses(self, total: bytes) -> bool:
        """One bit for each ciphertext."""
        try:
            return bool((self.engine.decrypt(self.key, total, 100) != sum(self.points)).any())
        except DecryptionImplausible:
            return True

    def raw(self, total: bytes) -> list[int]:
        """The plain polynomial, before the engine looks whether it is a sum of points."""
        plain = sealapi.Plaintext()
        secret = self.kernel._secret(self.key)
        loaded = self.kernel._chunks.load(np.frombuffer(total[HEADER_BYTES:], FULL)[0])
        sealapi.Decryptor(self.kernel._seal.context, secret).decrypt(loaded, plain)
        return [plain[i] if i < plain.coeff_count() else 0 for i in range(DEGREE)]


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


def crafted(like: bytes) -> bytes:
    """(0, q / t): it decrypts to the key itself."""
    words = np.zeros((2, PRIMES, DEGREE), np.uint64)
    for index, prime in enumerate(MODULI):
        words[1, index, 0] = (Q // T) % prime
    body = np.zeros(1, FULL)
    write(words, BITS, body[0])
    return like[:HEADER_BYTES] + body.tobytes()


def test_control_a_decryptor_of_anything_gives_the_key_at_once(oracle: Oracle) -> None:
    answer = oracle.raw(crafted(oracle.total))
    assert set(answer) == {0, 1, T - 1}
    ring = Ring(DEGREE, MODULI[0])
    found = np.asarray([a if a <= 1 else -1 for a in answer], object)
    secret = oracle.kernel._seal.secret(Material.parse(oracle.key, "BFV", of_round=False).seed)[0]
    data = secret.data()
    assert (ring.transform(found % ring.p) == [data[i] for i in range(DEGREE)]).all()
    # The engine itself says no more to this one than that it is no sum.
    with pytest.raises(DecryptionImplausible):
        oracle.engine.decrypt(oracle.key, crafted(oracle.total), 100)


def test_control_refusals_give_the_noise(oracle: Oracle) -> None:
    """By halving: how much can be added to a coefficient before the answer changes. Twice, to see it is no accident."""
    for at in (0, 17, DEGREE - 1):
        up, down = (halved(oracle, sign, at) for sign in (1, -1))
        # Room above and below: together one step of the plain text, and half their difference is the noise.
        assert abs(up + down - Q // T) <= 2
        noise = (down - up) // 2
        assert 0 <= abs(noise) <= 60
        assert oracle.refuses(shifted(oracle.total, EDGE - noise + 2, at))
        assert not oracle.refuses(shifted(oracle.total, EDGE - noise - 2, at))


def halved(oracle: Oracle, sign: int, at: int) -> int:
    fine, wrong = 0, 2 * EDGE
    while wrong - fine > 1:
        middle = (fine + wrong) // 2
        if oracle.refuses(shifted(oracle.total, sign * middle, at)):
            wrong = middle
        else:
            fine = middle
    return fine


# --- real gates -------------------------------------------------------------------------------------------------------


class Counting:
    """A gate's cipher that counts what it decrypts."""

    def __init__(self, cipher: Cipher, decrypted: list[bytes]) -> None:
        self._cipher, self._decrypted = cipher, decrypted
        self.encrypt, self.close = cipher.encrypt, cipher.close

    def decrypt(self, number: int, total: bytes, count: int) -> Points:
        self._decrypted.append(total)
        return self._cipher.decrypt(number, total, count)


@dataclass
class Job:
    """Three gates with keys and uploads of round 1; `decrypted` is all that any of them has decrypted."""

    fleet: Fleet
    server: Server
    decrypted: list[bytes]
    listed: list[Contribution]

    def code(self, act: Callable[[], object]) -> ReplyCode | None:
        """What the server hears; None for an answer."""
        try:
            act()
        except GateRefused as error:
            return error.code
        return None


Start = Callable[[str], Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    fleets: list[Fleet] = []

    def made(name: str) -> Job:
        decrypted: list[bytes] = []

        def cipher(scheme: EncryptingScheme, key: bytes) -> Any:
            return Counting(HERE.cipher(scheme, key), decrypted)

        fleet = Fleet(tmp_path / name, workers=Workers(cipher, HERE.summing))
        fleets.append(fleet)
        server = Server(fleet)
        server.keys()
        return Job(fleet, server, decrypted, [server.train(one, 1) for one in NAMES])

    yield made
    for fleet in fleets:
        fleet.close()


def malformed(blob: bytes, kind: np.dtype[np.void]) -> list[bytes]:
    """Everything that an attacker might want to see decrypted in the place of `blob`, which is of the right size."""
    found = [shifted(blob, by, at, kind) for by in SHIFTS for at in (0, 17)]
    zeros = blob[:HEADER_BYTES] + bytes(len(blob) - HEADER_BYTES)
    found += [zeros, blob[:-1], blob + b"\0", b"", b"x" * len(blob), blob[:4] + bytes([9]) + blob[5:]]
    return [*found, crafted(blob)] if kind is FULL else found


def reactions(job: Job) -> dict[str, list[ReplyCode | None]]:
    """Codes for each way in which the server gives bytes to gates that hold the key."""
    server, listed = job.server, job.listed
    message = server.agree(1, listed, NAMES, NAMES[1:])
    total = server.add(listed)
    heard: dict[str, list[ReplyCode | None]] = {"sum": [], "ciphertext": [], "state": []}
    for bad in malformed(total, FULL):
        heard["sum"].append(job.code(lambda: server.apply(NAMES[0], message, bad)))  # noqa: B023 - called at once
    honest = dict(server.ciphertexts)
    for bad in malformed(honest[NAMES[0]], SEEDED):
        server.ciphertexts = {**honest, NAMES[0]: bad}
        heard["ciphertext"].append(job.code(lambda: server.verify(NAMES[1], 1, listed, "Bodies")))
    server.ciphertexts = honest
    return heard


def test_gates_react_to_signatures_alone_whatever_the_server_sends(start: Start) -> None:
    first, second = start("first"), start("second")  # two jobs, two keys
    heard = reactions(first)
    assert heard == reactions(second)
    # By size and header, and then by digest: neither has to do with the key.
    assert set(heard["sum"]) == {ReplyCode.SUM_REFUSED, ReplyCode.CIPHERTEXT_INVALID}
    assert set(heard["ciphertext"]) == {ReplyCode.CIPHERTEXT_INVALID}
    assert first.decrypted == second.decrypted == []
    # The job is none the worse for it, and what is decrypted in the end is the honest sum, once by each gate.
    for job in (first, second):
        message = job.server.agree(1, job.listed, NAMES, NAMES[1:])
        total = job.server.add(job.listed)
        job.server.finish(1, message, total, NAMES)
        assert job.decrypted == [total] * len(NAMES)


def test_a_sealed_state_is_opened_or_not_and_nothing_else(start: Start) -> None:
    job = start("job")
    message = job.server.agree(1, job.listed, NAMES, NAMES[1:])
    job.server.finish(1, message, job.server.add(job.listed), NAMES)
    assert job.server.sealed is not None
    commit, sealed = job.server.sealed
    job.fleet.gate[NAMES[2]].kill()
    heard = set()
    for bad in [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in (0, 20, -20)] + [b"", sealed[:-1]]:
        restore = m.RestoreRequest(commit=commit)
        job.fleet.gate[NAMES[2]].replace()  # its state is gone, with the key
        job.server.join(NAMES[0], [NAMES[2]])
        arrays = {m.STATE: {m.SEALED: bad}}
        heard.add(job.code(lambda: job.server.ask(NAMES[2], m.RESTORE, restore, arrays=arrays)))  # noqa: B023
    assert heard == {ReplyCode.STATE_REFUSED}


def signed(job: Job, name: str, ciphertext: bytes) -> Contribution:
    """The participant's own word for another ciphertext of its own."""
    mine = next(one for one in job.listed if one.participant == name)
    return job.fleet.signer(name).contribution(
        epoch=mine.epoch,
        fingerprint=mine.fingerprint,
        round=mine.round,
        attempt=mine.attempt,
        scale=mine.scale,
        digest=digest_of(ciphertext),
        halves={half: digest_of(data) for half, data in split_upload("BFV", ciphertext, job.server.count).items()},
        base=mine.base,
        asked=mine.asked,
    )


@pytest.mark.parametrize(("by", "answered"), [(1, True), (EDGE + 200, False)], ids=["under the edge", "above"])
def test_a_participant_gets_one_answer_for_each_round(start: Start, by: int, answered: bool) -> None:
    """It holds the key, so the answer tells it nothing new; without one of them the server gets no answer at all."""
    job = start("job")
    server, name, honest = job.server, NAMES[2], job.server.ciphertexts[NAMES[2]]

    def attempt(shift: int) -> ReplyCode | None:
        server.ciphertexts[name] = shifted(honest, shift, 5, SEEDED)
        listed = [*job.listed[:2], signed(job, name, server.ciphertexts[name])]
        message = server.agree(1, listed, NAMES, NAMES[1:])
        return job.code(lambda: server.apply(NAMES[0], message, server.add(listed)))

    assert attempt(by) == (None if answered else ReplyCode.SUM_REFUSED)
    assert len(job.decrypted) == 1
    for other in (2, EDGE):
        assert job.code(lambda: attempt(other)) == ReplyCode.SECOND_SUM  # noqa: B023
    assert len(job.decrypted) == 1
