"""How long a round (train and evaluate of a few bytes) takes: stock Flower, Hanse, encrypted Hanse; medians of one run.

usage: python -m e2e.benchmarks.rounds [--clients 2,3,10] [--rounds 20] [--warm-up 2] [--only stock|hanse|encrypted]...

All with real processes on loopback, TLS, node authentication and SQLite; Hanse also with its front (nginx, mutual TLS)
and with the checkpoint of each round. Encrypted is the same Hanse under BFV, without differential privacy: gates agree
on a key before round 1, encrypt, verify, vote, decrypt and agree on the model in each. Measured from the end of one
round to the end of the next.
"""

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from e2e.benchmarks import rounds_stock
from hanse.api.job import Aggregation
from hanse.api.progress import Progress
from tests.contract.runtime.gate.encrypted_pods import encrypted_pods
from tests.contract.runtime.gate.pod import APP, ClientPod
from tests.contract.runtime.server.rig import Rig

_PATIENCE_SECONDS = 3600.0


def stock(clients: int, rounds: int) -> list[float]:
    """Seconds of each round of stock Flower."""
    with tempfile.TemporaryDirectory(prefix="stock-") as directory, Rig(Path(directory), clients) as rig:
        times = rounds_stock.start(rig, rounds)
        return _watch(rig, rounds, lambda: len(times.read_text().splitlines()))


def hanse(clients: int, rounds: int) -> list[float]:
    """Seconds of each round of ours: front, SuperLink, launcher, aggregator; gate and trainer for each client."""
    return _ours(clients, rounds, lambda rig, fields: [ClientPod(rig, i, one) for i, one in enumerate(fields)])


def encrypted(clients: int, rounds: int) -> list[float]:
    """The same where the server cannot read what it adds."""
    return _ours(clients, rounds, lambda rig, fields: encrypted_pods(rig, fields, [1.0] * clients))


def _ours(clients: int, rounds: int, pods: Callable[[Rig, list[dict[str, Any]]], list[ClientPod]]) -> list[float]:
    equal = Aggregation(weights="Equal")
    settings = {"rounds": rounds, "start_timeout_seconds": 300, "aggregation": equal, "client_app": APP}
    with tempfile.TemporaryDirectory(prefix="hanse-") as directory, Rig(Path(directory), clients, settings) as rig:
        fields = {"server_address": f"127.0.0.1:{rig.config.server_port}", "aggregation": equal}
        made = pods(rig, [fields] * clients)
        rig.start_superlink()
        rig.start_program("front", "hanse.runtime.front")
        rig.start_server()
        for pod in made:
            pod.start()
        return _watch(rig, rounds, lambda: _completed(rig.progress()))


def _completed(progress: Progress | None) -> int:
    return 0 if progress is None else progress.completed


def _watch(rig: Rig, rounds: int, count: Callable[[], int]) -> list[float]:
    """When each round was seen to be complete; the differences."""
    ends: list[float] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(ends) < rounds:
        if time.monotonic() > deadline or any(p.poll() not in (None, 0) for p in rig.processes.values()):
            for name in rig.processes:
                print(f"--- {name}\n{rig.log(name)[-1500:]}", file=sys.stderr)
            raise RuntimeError("a process ended early or the rounds did not come")
        now = time.monotonic()
        ends.extend([now] * (count() - len(ends)))
        time.sleep(0.01)
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


SIDES: Final = {"stock": stock, "hanse": hanse, "encrypted": encrypted}


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", default="2,3,10", help="numbers of clients (default: 2,3,10)")
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds (default: 20)")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before them (default: 2)")
    parser.add_argument("--only", choices=tuple(SIDES), action="append", help="this side; may be repeated")
    arguments = parser.parse_args()
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    metrics: dict[str, float] = {}
    for clients in (int(text) for text in arguments.clients.split(",")):
        for name, measure in SIDES.items():
            if arguments.only is None or name in arguments.only:
                seconds = measure(clients, arguments.warm_up + arguments.rounds)[max(arguments.warm_up - 1, 0) :]
                metrics[f"{name}_{clients}"] = round(statistics.median(seconds), 3)
                spread = f"{min(seconds):.3f} to {max(seconds):.3f} s"
                print(f"{name} {clients} clients: {metrics[f'{name}_{clients}']:.3f} s a round ({spread})", flush=True)
        for ratio, above, below in (("ratio", "stock", "hanse"), ("encrypted_ratio", "encrypted", "hanse")):
            one, other = metrics.get(f"{above}_{clients}"), metrics.get(f"{below}_{clients}")
            if one is not None and other is not None:
                metrics[f"{ratio}_{clients}"] = round(one / other, 2)
    print(json.dumps({"name": "rounds", "metrics": metrics}))


if __name__ == "__main__":
    main()
