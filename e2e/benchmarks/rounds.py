"""How long a round (train and evaluate of a few bytes) takes: stock Flower and Hanse in one run, medians.

usage: python -m e2e.benchmarks.rounds [--clients 2,3,10] [--rounds 20] [--warm-up 2] [--only stock|hanse]

Both with real processes on loopback, TLS, node authentication and SQLite; Hanse also with its front (nginx, mutual TLS)
and with the checkpoint of each round. Measured from the end of one round to the end of the next.
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

from e2e.benchmarks import rounds_stock
from hanse.api.progress import Progress
from tests.contract.runtime.gate.pod import ClientPod
from tests.contract.runtime.server.rig import Rig

_PATIENCE_SECONDS = 3600.0


def stock(clients: int, rounds: int) -> list[float]:
    """Seconds of each round of stock Flower."""
    with tempfile.TemporaryDirectory(prefix="stock-") as directory, Rig(Path(directory), clients) as rig:
        times = rounds_stock.start(rig, rounds)
        return _watch(rig, rounds, lambda: len(times.read_text().splitlines()))


def hanse(clients: int, rounds: int) -> list[float]:
    """Seconds of each round of ours: front, SuperLink, launcher, aggregator; gate and trainer for each client."""
    settings = {"rounds": rounds, "start_timeout_seconds": 300}
    with tempfile.TemporaryDirectory(prefix="hanse-") as directory, Rig(Path(directory), clients, settings) as rig:
        rig.start_superlink()
        rig.start_program("front", "hanse.runtime.front")
        rig.start_server()
        for index in range(clients):
            ClientPod(rig, index, {"server_address": f"127.0.0.1:{rig.config.server_port}"}).start()
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


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", default="2,3,10", help="numbers of clients (default: 2,3,10)")
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds (default: 20)")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before them (default: 2)")
    parser.add_argument("--only", choices=("stock", "hanse"), help="one side alone")
    arguments = parser.parse_args()
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    metrics: dict[str, float] = {}
    for clients in (int(text) for text in arguments.clients.split(",")):
        for name, measure in (("stock", stock), ("hanse", hanse)):
            if arguments.only in (None, name):
                seconds = measure(clients, arguments.warm_up + arguments.rounds)[max(arguments.warm_up - 1, 0) :]
                metrics[f"{name}_{clients}"] = round(statistics.median(seconds), 3)
                spread = f"{min(seconds):.3f} to {max(seconds):.3f} s"
                print(f"{name} {clients} clients: {metrics[f'{name}_{clients}']:.3f} s a round ({spread})", flush=True)
        if arguments.only is None:
            metrics[f"ratio_{clients}"] = round(metrics[f"stock_{clients}"] / metrics[f"hanse_{clients}"], 2)
    print(json.dumps({"name": "rounds", "metrics": metrics}))


if __name__ == "__main__":
    main()
