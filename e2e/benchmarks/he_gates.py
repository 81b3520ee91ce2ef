"""A round of BFV as gates and server do it, by the same classes, processes and digests: a row of the benchmark `he`.

What is not here, because encryption does not change it or it does not grow with the model: training, the optimiser's
step and the model's digest, the network, signatures, files.
"""

from collections.abc import Mapping

import numpy as np

from e2e.benchmarks.he_rows import REPEATS, Federation, Row
from e2e.benchmarks.he_ways import received, uploaded
from hanse.api.encryption import HALVES, EncryptingScheme, Half
from hanse.runtime.agreement.statements import digest_of
from hanse.runtime.gate.encrypted_workers import Adder
from hanse.runtime.he import Cipher, Halves, Summing, UploadSum, engine_of, split_total, split_upload

SCHEME: EncryptingScheme = "BFV"


def gates(federation: Federation) -> Row:
    """One core a client, so one process encrypts."""
    row, size = Row(SCHEME), federation.size
    key = engine_of(SCHEME).keygen()
    with Cipher(SCHEME, key, processes=1) as cipher:
        with row.timed("start"):
            cipher.encrypt(1, np.zeros(1, np.int64))
        uploads = uploaded(row, federation, lambda points: cipher.encrypt(1, points))
        for upload in uploads:
            with row.timed("sign"):
                cut(upload, size)
        total = added(row, uploads, size)
        for _ in range(REPEATS):
            with row.timed("check"):
                digests(split_total(SCHEME, total, size))
                digest_of(total)
            received(row, federation, lambda: cipher.decrypt(1, total, size))
    row.upload, row.total = len(uploads[0]), len(total)
    return row


def cut(upload: bytes, size: int) -> Halves:
    """The halves of an upload; all three have been hashed, by who signs and by who receives."""
    digest_of(upload)
    halves = split_upload(SCHEME, upload, size)
    digests(halves)
    return halves


def digests(halves: Mapping[Half, bytes]) -> None:
    """Hash each."""
    for half in HALVES:
        digest_of(halves[half])


def added(row: Row, uploads: list[bytes], size: int) -> bytes:
    """The server's sum, and beside it, on other machines, the verifiers' of each half."""
    with Summing(SCHEME, size, len(uploads)) as summing:
        server, verifier = UploadSum(SCHEME, size, summing), Adder(SCHEME, len(uploads), Summing)
        for _ in range(1 + REPEATS):  # the first round, which no worker is warm for, is like any other in a median
            halves = []
            for upload in uploads:
                with row.timed("receive"):
                    halves.append(cut(upload, size))
                    server.add(halves[-1])
            with row.timed("total"):
                total = server.total()
                digest_of(total)
                digests(split_total(SCHEME, total, size))
            for half in HALVES:
                with row.timed(f"verify {half.lower()}"):
                    for each in halves:
                        digest_of(each[half])
                    digest_of(verifier.add([each[half] for each in halves], size, half))
            server.reset()
        verifier.close()
    return total
