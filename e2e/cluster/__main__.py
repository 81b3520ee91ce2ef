"""The command line of the test clusters: `python -m e2e.cluster up|down|status|…`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import binaries, preflight
from e2e.cluster.backend import Cluster, CreateOptions
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import DEFAULT_NAME
from e2e.cluster.registry import BACKENDS, names, open_cluster


def main() -> int:
    """Parse, run, print errors as text."""
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _up(arguments: argparse.Namespace) -> int:
    cluster = _open(arguments)
    cluster.create(CreateOptions(gpus=arguments.gpus))
    _print_status(cluster)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    _open(arguments).delete(keep_logs=arguments.keep_logs)
    _say(f"cluster {arguments.name} is gone")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = [arguments.name] if arguments.name else names() or [DEFAULT_NAME]
    clusters = [open_cluster(name, report=_say) for name in found]
    for cluster in clusters:
        _print_status(cluster)
    return 0 if all(cluster.status().ready for cluster in clusters) else 3


def _diagnose(arguments: argparse.Namespace) -> int:
    print(_open(arguments).diagnose(arguments.lines))
    return 0


def _load(arguments: argparse.Namespace) -> int:
    for image in _open(arguments).load_images(arguments.archives):
        print(image.by_digest)
    return 0


def _images(arguments: argparse.Namespace) -> int:
    for image in _open(arguments).images():
        print(f"{image.name} {image.digest}")
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    done = _open(arguments).node_exec(arguments.argv, check=False, timeout=3600)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def _restart_apiserver(arguments: argparse.Namespace) -> int:
    _open(arguments).restart_apiserver(down_seconds=arguments.down_seconds)
    return 0


def _build(_: argparse.Namespace) -> int:
    built = binaries.ensure(report=_say)
    print(json.dumps({name: str(path) for name, path in built.items()}, indent=1))
    return 0


def _preflight(arguments: argparse.Namespace) -> int:
    node = arguments.what == "node"
    if arguments.install:
        preflight.install(_say, preflight.PACKAGES if node else preflight.API_SERVER)
    if node:
        preflight.check()
    else:
        preflight.check_apiserver()
    return 0


def _open(arguments: argparse.Namespace) -> Cluster:
    return open_cluster(arguments.name, getattr(arguments, "backend", None), report=_say)


def _print_status(cluster: Cluster) -> None:
    status = cluster.status()
    word = "ready" if status.ready else "not ready" if status.running else "not running"
    print(f"# cluster {status.name} ({status.backend}): {word}")
    for line in status.detail:
        print(f"# {line}")
    if status.kubeconfig:
        print(f"export KUBECONFIG={status.kubeconfig}")
        print(f"export PATH={binaries.links_dir()}:$PATH")


def _say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description="A Kubernetes to test on.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *, named: bool = True
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if named:
            command.add_argument("--name", default=DEFAULT_NAME, help=f"which cluster (default: {DEFAULT_NAME})")
        return command

    up = add("up", _up, "make a cluster, or make sure that it is there")
    up.add_argument("--backend", choices=sorted(BACKENDS), default=os.environ.get("HANSE_CLUSTER_BACKEND"))
    up.add_argument("--gpus", type=int, help="how many nvidia.com/gpu the node pretends to have")
    down = add("down", _down, "remove a cluster and all that it left")
    down.add_argument("--keep-logs", action="store_true", help="copy its logs out before")
    status = add("status", _status, "say how clusters are (all, without --name)", named=False)
    status.add_argument("--name", default=None, help="which cluster")
    diagnose = add("diagnose", _diagnose, "print objects, events and the ends of all logs")
    diagnose.add_argument("--lines", type=int, default=40)
    load = add("load", _load, "bring image archives (OCI or docker-archive) to the node; prints name@digest")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    add("images", _images, "list the node's images with their digests")
    execute = add("node-exec", _exec, "run a command on the node")
    execute.add_argument("argv", nargs="+", metavar="COMMAND")
    restart = add("restart-apiserver", _restart_apiserver, "kill the API server and wait until it is back")
    restart.add_argument("--down-seconds", type=float, default=0)
    add("build", _build, "build the pinned programs and print where they are", named=False)
    check = add("preflight", _preflight, "check what a host needs", named=False)
    check.add_argument(
        "--for",
        dest="what",
        choices=("node", "apiserver"),
        default="node",
        help="a cluster, or an API server alone",
    )
    check.add_argument("--install", action="store_true", help="install what is missing with apt-get")
    return parser


if __name__ == "__main__":
    sys.exit(main())
