"""`hanse run`: its options turned into a `LocalJob`, and what is kept and said at the end."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.api.participant import ParticipantSpec
from hanse.cli.errors import CliError, Interrupted, ManifestError, UsageError
from hanse.cli.interrupt import Interrupt
from hanse.cli.layout import MODEL_FILE, MODELS, Member
from hanse.cli.localprivacy import default_ledger
from hanse.cli.localrun import LocalJob, Result, run_job
from hanse.cli.manifests import Manifest, Manifests, load
from hanse.cli.rundir import RunDirectory
from hanse.cli.screen import Screen


@dataclass(frozen=True)
class RunOptions:
    """The command line of `hanse run`."""

    files: Sequence[Path]
    data: Sequence[str]
    job: str | None = None
    rounds: int | None = None
    output: Path | None = None
    app: Sequence[Path] = ()
    keep: bool = False
    verbose: bool = False
    resume: Path | None = None
    ledger: Path | None = None


def run(options: RunOptions, console: Console) -> None:
    """Validate, run, report. Raises `CliError`s; a run directory that is worth something stays."""
    manifests = load(options.files)
    manifest = manifests.job(options.job)
    _accept(manifests, manifest)
    if options.rounds is not None:
        manifest = _with_rounds(manifest, options.rounds)
    members = resolve_data(manifest.spec, manifests.owners(), options.data)
    output = (options.output or Path(f"hanse-{manifest.name}")).resolve()
    output.mkdir(parents=True, exist_ok=True)
    directory = RunDirectory(_directory(options, output))
    app_path = tuple(options.app) or tuple(dict.fromkeys(_parent(f) for f in options.files))
    job = LocalJob(
        manifest,
        members,
        directory,
        output,
        app_path,
        resume=options.resume is not None,
        budgets={(b.namespace, b.name): b.spec for b in manifests.budgets},
        ledger=(options.ledger or default_ledger()).absolute(),
    )
    if manifest.spec.suspend:
        console.print("spec.suspend is true: a cluster would wait; run on this machine all the same", style="yellow")
    _run_and_report(job, options, console, manifests)


def _accept(manifests: Manifests, manifest: Manifest[FederatedJobSpec]) -> None:
    problems = []
    for finding, problem in manifests.refusals(manifest):
        if finding.reason in (Reason.PARTICIPANT_NOT_FOUND, Reason.BUDGET_NOT_FOUND):
            problem = replace(problem, next_step="Name the file that holds it too, or the directory of both.")
        problems.append(problem)
    if problems:
        raise ManifestError(problems)


def _run_and_report(job: LocalJob, options: RunOptions, console: Console, manifests: Manifests) -> None:
    interrupt = Interrupt()
    interrupt.install()
    if options.verbose:
        console.print(f"run directory {job.directory.path}, ignored kinds: {', '.join(manifests.others) or 'none'}")
    try:
        with Screen(console) as screen:
            result = run_job(job, screen, interrupt)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"Stopped. The logs are in {job.directory.logs}", f"Go on with --resume {job.directory.path}"
        ) from error
    except CliError as error:
        error.next_step = error.next_step or f"The run is kept in {job.directory.path}"
        raise
    finally:
        job.directory.forget_links()
    report(result, job, console)
    if options.keep:
        console.print(f"kept     {job.directory.path}", soft_wrap=True, highlight=False)
    elif options.resume is None:
        job.directory.remove()


def report(result: Result, job: LocalJob, console: Console) -> None:
    """The last lines: how it ended, where the model is, what to do with it."""
    view = result.view
    console.print(
        f"{view.job} is complete: {view.completed}/{view.total} rounds. {view.message}".rstrip(), highlight=False
    )
    for line in result.privacy:
        console.print(line, soft_wrap=True, highlight=False)
    if result.model is None:
        for line in _without_model(job):
            console.print(line, soft_wrap=True, highlight=False)
        return
    file = _shown(job.output / MODEL_FILE)
    console.print(f"model    {file}", soft_wrap=True, highlight=False)
    console.print(f"digest   {result.model.digest}", soft_wrap=True, highlight=False)
    console.print(f"next     hanse model show {file}", soft_wrap=True, highlight=False)


def _without_model(job: LocalJob) -> list[str]:
    """Why the output holds none, and who has it."""
    spec = job.manifest.spec
    release = spec.privacy.model_release if spec.privacy is not None else "Coordinator"
    if release == "Never":
        return ["no model: privacy.modelRelease Never lets nobody have it"]
    if release == "Participants":
        owners = (member.participant.name for member in job.members)
        return [f"model    {_shown(job.output / MODELS / name)}" for name in owners]
    return ["no model: the job's own ServerApp keeps what it makes"]


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _directory(options: RunOptions, output: Path) -> Path:
    if options.resume is not None:
        return options.resume.resolve()
    return Path(tempfile.mkdtemp(prefix="run-", dir=output))


def _parent(file: Path) -> Path:
    return file if file.is_dir() else file.parent


def _with_rounds(manifest: Manifest[FederatedJobSpec], rounds: int) -> Manifest[FederatedJobSpec]:
    spec = manifest.spec.model_copy(update={"rounds": rounds})
    return Manifest(manifest.kind, manifest.namespace, manifest.name, spec, manifest.document)


def resolve_data(
    spec: FederatedJobSpec, owners: dict[tuple[str, str], ParticipantSpec], given: Sequence[str]
) -> list[Member]:
    """Each participant with its data from `--data PARTICIPANT/DATASET=PATH`; every one needs it."""
    paths = dict(_parse_data(item) for item in given)
    members = []
    for index, participant in enumerate(spec.participants):
        ref = participant.participant_ref
        path = paths.pop(_key(participant), None)
        if path is None:
            raise UsageError(
                f"No data for participant {participant.name}",
                f"Add --data {_key(participant)}=PATH with a file or directory of this machine.",
            )
        members.append(Member(participant, index, owners[(ref.namespace, ref.name)], path))
    if paths:
        known = ", ".join(_key(p) for p in spec.participants)
        raise UsageError(f"--data {next(iter(paths))}: no such participant and dataset", f"The job has: {known}.")
    return members


def _key(participant: JobParticipant) -> str:
    return f"{participant.name}/{participant.dataset}"


def _parse_data(item: str) -> tuple[str, Path]:
    key, sign, path = item.partition("=")
    if not sign or not path or key.count("/") != 1:
        raise UsageError(f"--data {item} is not PARTICIPANT/DATASET=PATH", "For example: --data bank-a/loans=a.csv")
    found = Path(path).expanduser()
    if not found.exists():
        raise UsageError(f"--data {item}: {found} is not there", "Check the path.")
    return key, found.absolute()
