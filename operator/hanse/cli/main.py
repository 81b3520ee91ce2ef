"""The `hanse` command, also `kubectl hanse`: options only; each command's work is in a module of its own.

Entry points `hanse` and `kubectl-hanse` call `main`.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hanse.api.rbac import DEFAULT_SERVICE_ACCOUNT
from hanse.cli.errors import CliError, Interrupted, ManifestError, UsageError

app = typer.Typer(
    name="hanse",
    help="Federated learning that the data owner controls, on Kubernetes.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model_app = typer.Typer(no_args_is_help=True, help="Fetch, look at and use a trained model.")
app.add_typer(model_app, name="model")
certificate_app = typer.Typer(no_args_is_help=True, help="Check what an owner's gates have released.")
app.add_typer(certificate_app, name="certificate")
identity_app = typer.Typer(no_args_is_help=True, help="An owner's key, which signs what its gates release.")
app.add_typer(identity_app, name="identity")

#: Where output is read by a program a table must not be folded to 80 columns.
_WIDTH_WITHOUT_TERMINAL = 200


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    fixed = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=_WIDTH_WITHOUT_TERMINAL if fixed else None)


out = _console(stderr=False)
err = _console(stderr=True)

# Arguments are explained in docstrings: typer 0.20 loses their help with click 8.5 (docs/known-issues.md).
Files = Annotated[list[Path], typer.Argument(show_default=False)]
Job = Annotated[str, typer.Argument(show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the job; without it the context's.")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; without it the current one.")]
ModelFile = Annotated[Path, typer.Argument(show_default=False)]


@app.command()
def run(
    files: Files,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="PARTICIPANT/DATASET=PATH, once for each participant.", metavar="P/D=PATH"),
    ] = None,
    job: Annotated[str | None, typer.Option(help="Which FederatedJob, where the files hold several.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of spec.rounds.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the model goes [default: ./hanse-JOB].")] = None,
    app_path: Annotated[
        list[Path] | None,
        typer.Option("--app", help="Directory from which your app's module is imported [default: the files']."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep state, checkpoint and logs after success too.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on from the checkpoint in a kept run directory.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Private jobs: directory of the owners' ledgers [default: hanse/ledger in your data directory]."
        ),
    ] = None,
) -> None:
    """Run a job on this machine, without Kubernetes: the same manifests, the same programs, on loopback.

    FILES are YAML files, or directories of them, that hold the FederatedJob and its Participants.

    Example: `hanse run examples/credit --data bank-a/loans=a.csv --data bank-b/loans=b.csv --data bank-c/loans=c.csv`
    """
    from hanse.cli.runcommand import RunOptions
    from hanse.cli.runcommand import run as run_locally

    run_locally(RunOptions(files, data or [], job, rounds, output, app_path or [], keep, verbose, resume, ledger), out)


@app.command()
def check(files: Files) -> None:
    """Check manifests before they are submitted: schema, rules, and acceptance by the Participants in the files.

    FILES are YAML files, or directories of them; other kinds are passed over.
    """
    from hanse.cli.check import check_files

    check_files(files, out)


@app.command()
def jobs(
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    context: Context = None,
) -> None:
    """List FederatedJobs of the cluster."""
    from hanse.cli.kube import connect
    from hanse.cli.watch import list_jobs

    with connect(context) as cluster:
        list_jobs(cluster, None if all_namespaces else namespace or cluster.namespace, out)


@app.command()
def watch(
    job: Job,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Watch a FederatedJob of the cluster until it ends; fails when it fails.

    JOB is a name, or NAMESPACE/NAME.
    """
    from hanse.cli.kube import connect
    from hanse.cli.screen import Screen
    from hanse.cli.watch import watch_job

    with connect(context) as cluster, Screen(out) as screen:
        space, name = _job_name(job, namespace or cluster.namespace)
        view = watch_job(cluster, space, name, screen)
    _print(f"{name} is complete: {view.completed}/{view.total} rounds.")
    if view.model:
        _print(f"model    {view.model}")
        _print(f"next     hanse model get {space}/{name}")


@model_app.command("get")
def model_get(
    job: Job,
    namespace: Namespace = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File [default: JOB.safetensors].")] = None,
    image: Annotated[
        str | None, typer.Option(help="Image of the reader pod (needs python3) [default: the job's server image].")
    ] = None,
    context: Context = None,
) -> None:
    """Copy a job's model out of its claim and check its digest.

    JOB is a name, or NAMESPACE/NAME.
    """
    from hanse.cli.fetch import fetch_model
    from hanse.cli.kube import connect

    with connect(context) as cluster:
        space, name = _job_name(job, namespace or cluster.namespace)
        target = output or Path(f"{name}.safetensors")
        with err.status(f"copying the model of {space}/{name}"):
            model = fetch_model(cluster, space, name, target, image)
    _print(f"model    {target} ({target.stat().st_size} bytes)")
    _print(f"digest   {model.digest} (as in the job's status)")


@model_app.command("show")
def model_show(file: ModelFile) -> None:
    """Show what a model file says about itself.

    FILE is a model.safetensors that a FederatedJob made.
    """
    from hanse.cli.modelcommands import show

    show(file, out)


@model_app.command("predict")
def model_predict(
    file: ModelFile,
    row: Annotated[
        str | None, typer.Option(help="One record: values in the order of the model's features, by comma.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="CSV or CSV.gz with a header; other columns are passed over.")
    ] = None,
    npz: Annotated[Path | None, typer.Option(help="Images (array `images`), for a vision model.")] = None,
) -> None:
    """Score records with a model of a built-in app: numpy only, on this machine.

    FILE is a model.safetensors that a FederatedJob made.
    """
    from hanse.cli.modelcommands import predict

    given = [(o, str(v)) for o, v in (("row", row), ("csv", csv), ("npz", npz)) if v is not None]
    if len(given) != 1:
        raise UsageError("Give one of --row, --csv and --npz", "What the model takes: hanse model show FILE")
    predict(file, given[0], out)


@certificate_app.command("verify")
def certificate_verify(
    file: Annotated[Path, typer.Argument(show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option(help="File with the owner's public key (PEM): status.identity of the Participant.")
    ] = None,
    pld: Annotated[bool, typer.Option("--pld/--no-pld", help="Show the tighter accountant's figure too.")] = True,
) -> None:
    """Check a certificate offline: the signature, and every epsilon computed again from plan and releases.

    FILE is a certificate.json of a job with privacy.
    """
    from hanse.cli.certificate import verify

    verify(file, public_key, out, with_pld=pld)


@identity_app.command("create")
def identity_create(
    namespace: Annotated[str, typer.Argument(show_default=False)],
    key: Annotated[
        Path | None, typer.Option(help="File with a private key that you have (Ed25519, PEM); without it a new one.")
    ] = None,
) -> None:
    """Print the Secret with your own identity key, before a first job would let the operator make one.

    NAMESPACE is the owner's. The private key is in the output: pipe it on, do not keep it.

    Example: `hanse identity create bank-a | kubectl create -f -`
    """
    from hanse.cli.identity import key_of, manifest

    sys.stdout.write(manifest(namespace, key_of(key)))


@app.command("owner-rbac")
def owner_rbac(
    namespace: Annotated[str, typer.Argument(show_default=False)],
    operator_namespace: Annotated[str, typer.Option(help="Namespace of the operator.")] = "hanse-system",
    service_account: Annotated[str, typer.Option(help="Service account of the operator.")] = DEFAULT_SERVICE_ACCOUNT,
) -> None:
    """Print the Role and RoleBinding by which an owner lets the operator work in its namespace.

    NAMESPACE is the owner's.
    """
    from hanse.cli.ownerrbac import manifests

    sys.stdout.write(manifests(namespace, operator_namespace, service_account))


@app.command("version")
def show_version() -> None:
    """Print the version."""
    try:
        _print(f"hanse {version('hanse')}")
    except PackageNotFoundError:
        _print("hanse (not installed as a package)")


def _job_name(given: str, namespace: str) -> tuple[str, str]:
    space, slash, name = given.rpartition("/")
    return (space, name) if slash else (namespace, given)


def _print(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _report(error: CliError) -> None:
    """The error, each problem on a line of its own, and the next step."""

    def line(text: str, style: str = "") -> None:
        err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if isinstance(error, ManifestError):
        for problem in error.problems:
            line(str(problem), "red")
            if problem.next_step:
                line(f"    {problem.next_step}")
    line(error.message if isinstance(error, Interrupted) else f"error: {error.message}", "red")
    if error.next_step:
        line(f"next: {error.next_step}")


def main() -> None:
    """Run the command; errors that a person can act upon become lines and an exit code."""
    try:
        app()
    except CliError as error:
        _report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
