"""What homomorphic encryption costs: CPU seconds and bytes of one round of ResNet-18 with ten clients.

usage: python -m e2e.benchmarks.he [--parameters N] [--clients K] [--tutorial-clients K]

`scripts/bench he` calls it. One run measures, in this order, each on the same updates:

* plain: float32 arrays, as Flower sends them;
* None: integers on the grid, packed, without encryption;
* BFV: what gates and server do, by their classes and in their processes (`he_gates`): symmetric seeded uploads, the
  server adds bodies when they come and seeds when it has them all, verifiers add one half each;
* BFV-public: the same engine with a public key, in this process;
* tutorial CKKS: degree 8192, [60, 40, 40, 60], scale 2^40, public key, one ckks_vector for each 4,096 parameters;
  weights are applied before encryption: its best case.

Seconds are medians of CPU (user and system) of this process and its living and ended children, not of the clock; a
worker's start, once a job, is apart. A client's part is from quantise (`SumCodec`, without noise) over packing,
encryption and serialisation to parsing, decryption, unpacking and the mean as float64. For tutorial CKKS it is from the
float64 update to the float64 mean. Only the first `--tutorial-clients` encrypt there (a client takes half a minute);
their uploads are added in turn until ten are.

The keys of the last line:

* client_cpu_ratio: a client's CPU seconds of tutorial CKKS over those of BFV as gates use it (seeded);
  client_cpu_ratio_public: over those of BFV with a public key.
* bytes_ratio: upload and download of a client with tutorial CKKS over those of BFV as gates use it;
  bytes_ratio_public: of BFV with a public key.
* bytes_per_param: of an upload with a public key, and of a total in either form; bytes_per_param_seeded: of an upload
  from a gate; verifier_bodies_bytes_per_param, verifier_seeds_bytes_per_param: of what a verifier gets of all clients.
* receive_cpu_seconds: what the server does when one upload comes: digests, its halves, its body checked and added;
  total_cpu_seconds: and when all are there: sums of the bodies, of the seeds, digests. server_cpu_seconds: ten of the
  first and the second.
* verifier_bodies_cpu_seconds, verifier_seeds_cpu_seconds: digests and the sum of ten halves, by the two kinds of
  verifiers. No gate is both.
* critical_path_cpu_seconds: what one after another takes on one core each: one client's encryption and what it hashes
  to sign; the server receives the last upload; the slowest of verifier of bodies, verifier of seeds and the server's
  total, which work at the same time on three machines; one client's checks and decryption. Uploads come one by one
  there: one takes longer over 1 Gbit/s than to receive. critical_path_at_once_cpu_seconds: the same where all ten come
  at one moment and wait for each other at the server.
* max_abs_error: of the decrypted mean of BFV against the float64 mean, over the range of an entry (twice the reach).
* client_share, round_share: a client's CPU seconds, and critical_path_at_once_cpu_seconds, of a round of 60 s.
"""

import argparse
import json
import os
import sys
from typing import Final

from e2e.benchmarks.he_gates import SCHEME, gates
from e2e.benchmarks.he_rows import Federation, Row
from e2e.benchmarks.he_ways import engine, plain, tutorial
from hanse.api.encryption import HALVES
from hanse.runtime.he import facts_of

RESNET18: Final = 11_689_512
ROUND_SECONDS: Final = 60


def metrics_of(bfv: Row, public: Row, ckks: Row, clients: int, parameters: int) -> dict[str, float]:
    """What the module's docstring defines."""
    receive, total = bfv.median("receive"), bfv.median("total")
    bodies, seeds = bfv.median("verify bodies"), bfv.median("verify seeds")
    path = bfv.client + bfv.median("sign", "check") + max(bodies, seeds, total)
    at_once = path + clients * receive
    facts = facts_of(SCHEME)
    halves = {half: clients * facts.max_ciphertext_bytes(parameters, half) / parameters for half in HALVES}
    return {
        "client_cpu_ratio": ckks.client / bfv.client,
        "client_cpu_ratio_public": ckks.client / public.client,
        "bytes_ratio": ckks.bytes / bfv.bytes,
        "bytes_ratio_public": ckks.bytes / public.bytes,
        "bytes_per_param": public.upload / parameters,
        "bytes_per_param_seeded": bfv.upload / parameters,
        "bytes_per_param_total": bfv.total / parameters,
        "verifier_bodies_bytes_per_param": halves["Bodies"],
        "verifier_seeds_bytes_per_param": halves["Seeds"],
        "client_cpu_seconds": bfv.client,
        "receive_cpu_seconds": receive,
        "total_cpu_seconds": total,
        "server_cpu_seconds": clients * receive + total,
        "verifier_bodies_cpu_seconds": bodies,
        "verifier_seeds_cpu_seconds": seeds,
        "worker_start_cpu_seconds": bfv.median("start"),
        "critical_path_cpu_seconds": path + receive,
        "critical_path_at_once_cpu_seconds": at_once,
        "max_abs_error": bfv.error,
        "client_share": bfv.client / ROUND_SECONDS,
        "round_share": at_once / ROUND_SECONDS,
    }


def show(row: Row, parameters: int) -> None:
    """One line of the table."""
    parts = ", ".join(f"{name} {row.median(name):.3f}" for name in row.seconds)
    up, down = row.upload / parameters, row.total / parameters
    sys.stdout.write(
        f"{row.name:14s} client {row.client:7.3f} s, up {up:6.2f} and down {down:6.2f} B a parameter, "
        f"error {row.error:.1e} of the range ({parts})\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=RESNET18)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--tutorial-clients", type=int, default=2, help="of them encrypt with tutorial CKKS")
    chosen = parser.parse_args()
    size, clients = chosen.parameters, chosen.clients
    federation = Federation.of(size, clients)
    show(plain(federation), size)
    show(engine("None", federation), size)
    bfv = gates(federation)
    show(bfv, size)
    public = engine("BFV-public", federation)
    show(public, size)
    ckks = tutorial(federation, min(chosen.tutorial_clients, clients))
    show(ckks, size)
    rounded = {name: float(f"{value:.4g}") for name, value in metrics_of(bfv, public, ckks, clients, size).items()}
    sys.stdout.write(json.dumps({"name": "he", "cpus": os.cpu_count(), "metrics": rounded}) + "\n")


if __name__ == "__main__":
    main()
