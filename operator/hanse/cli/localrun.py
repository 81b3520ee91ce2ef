"""`hanse run`: a job's programs on loopback, watched until the launcher ends. Called by `hanse.cli.runcommand`."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.conditions import Reason
from hanse.api.exitcodes import ExitCode, reason_for
from hanse.api.job import FederatedJobSpec
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.progress import ModelFile, Progress
from hanse.cli.errors import RunFailed, UsageError
from hanse.cli.interrupt import Interrupt
from hanse.cli.layout import Member, Privacy, free_port, lay_out
from hanse.cli.localidentity import owner_identity
from hanse.cli.localprivacy import Ledgers, default_ledger, report, resolve_all
from hanse.cli.manifests import Manifest
from hanse.cli.processes import Exit, Processes
from hanse.cli.programs import first_models, programs
from hanse.cli.rundir import Identity, RunDirectory, open_directory
from hanse.cli.screen import Screen
from hanse.cli.view import Member as MemberView
from hanse.cli.view import View, from_progress

_HINTS: Final[dict[str, str]] = {
    Reason.APP_IMPORT_FAILED: "Your own Python runs the app, not its image: install what it needs, or name its "
    "directory with --app.",
    Reason.DATASET_NOT_FOUND: "Check --data.",
    Reason.DATASET_INVALID: "Compare the file with the schema of the Participant.",
    Reason.KEY_LOST: "No gate holds the key any more: run it anew.",
    Reason.MODEL_NOT_RELEASED: "Every contributor must sign the release: run it anew.",
}
_TICK_SECONDS: Final = 0.2
_FAREWELL_SECONDS: Final = 10.0
#: The launcher lets a checkpoint in progress finish; a second Ctrl-C ends everything at once.
_DRAIN_SECONDS: Final = 25.0


@dataclass(frozen=True)
class LocalJob:
    """What is run and where."""

    manifest: Manifest[FederatedJobSpec]
    members: list[Member]
    directory: RunDirectory
    output: Path
    app_path: tuple[Path, ...] = ()
    resume: bool = False
    budgets: Mapping[tuple[str, str], PrivacyBudgetSpec] = field(default_factory=dict)
    ledger: Path = field(default_factory=default_ledger)


@dataclass(frozen=True)
class Result:
    """How a run ended well."""

    view: View
    model: ModelFile | None
    privacy: tuple[str, ...] = ()


@dataclass
class _Watch:
    """One run while it runs."""

    job: LocalJob
    processes: Processes
    screen: Screen
    failures: dict[str, Reason] = field(default_factory=dict)
    progress: Progress | None = None

    def look(self) -> int | None:
        """Look at processes and progress once; the launcher's exit code when it has ended."""
        exits = self.processes.poll()
        self._read_progress()
        for ended in exits:
            if ended.name == "launcher":
                return ended.code
            self._client_or_sidecar(ended)
        return None

    def _read_progress(self) -> None:
        progress = read_progress(self.job.directory.server)
        if progress is None or (self.progress and progress.updated_at < self.progress.updated_at):
            return
        self.progress = progress
        self.screen.show(from_progress(self.job.manifest.name, progress))

    def _client_or_sidecar(self, ended: Exit) -> None:
        if ended.code == 0:
            return
        what = f"{ended.name} ended with {ended.code} ({reason_for(ended.code)})"
        if not ended.final:
            self.screen.say(f"{what}; started again")
            return
        if "/" not in ended.name:
            raise self.failed(Reason.SIDECAR_CRASH_LOOP, what, ExitCode.INTERNAL_ERROR)
        name = ended.name.split("/")[0]
        self.failures[name] = reason_for(ended.code)
        self.screen.say(f"{what}: {self._last_words(name)}")
        self._check_quorum()

    def _last_words(self, name: str) -> str:
        index = next(m.index for m in self.job.members if m.participant.name == name)
        log = self.job.directory.trainer(index, name).termination_log
        text = log.read_text(errors="replace").strip() if log.is_file() else ""
        return text.splitlines()[-1] if text else f"see {self.job.directory.logs / name}"

    def _check_quorum(self) -> None:
        """The job cannot go on when fewer than the quorum are left; their common cause is its reason."""
        spec = self.job.manifest.spec
        if len(self.job.members) - len(self.failures) >= spec.effective_quorum:
            return
        causes = Counter(self.failures.values())
        reason = next(iter(causes)) if len(causes) == 1 else Reason.QUORUM_NOT_REACHED
        text = ", ".join(f"{name}: {self._last_words(name)}" for name in self.failures)
        raise self.failed(reason, f"{text}; quorum {spec.effective_quorum}", _code_of(reason))

    def failed(self, reason: str, message: str, code: int) -> RunFailed:
        """The error of this run, with where its logs are."""
        logs = f"The logs are in {self.job.directory.logs}."
        return RunFailed(reason, message, code, f"{_HINTS.get(reason, '')} {logs}".strip())


def run_job(job: LocalJob, screen: Screen, interrupt: Interrupt) -> Result:
    """Run to the end. Raises `RunFailed`; leaves no process and no reservation behind in any case."""
    spec, manifest = job.manifest.spec, job.manifest
    if job.resume and spec.encryption is not None:
        raise UsageError(
            "An encrypted job cannot be gone on with: its key has gone with its gates", "Run it anew, without --resume."
        )
    identity = open_directory(job.directory.path, manifest.namespace, manifest.name, spec, resume=job.resume)
    reserved = resolve_all(spec, job.members, identity.uid)
    ledgers = Ledgers(job.ledger)
    if not reserved:
        return _run(job, identity, screen, interrupt, {})
    ref = JobRef(namespace=identity.namespace, name=identity.name, uid=identity.uid)
    ledgers.reserve(ref, reserved, job.budgets)
    privacy = {
        each.participant: Privacy(each.plan, each.plan_hash, each.population, ledgers.of(each.namespace))
        for each in reserved
    }
    told: tuple[str, ...] = ()
    try:
        result = _run(job, identity, screen, interrupt, privacy)
        told = (*report(reserved, ledgers.accounts(reserved)), *ledgers.certificates(ref, reserved))
    finally:
        ledgers.settle(reserved)
    return replace(result, privacy=told)


def _run(
    job: LocalJob, identity: Identity, screen: Screen, interrupt: Interrupt, privacy: Mapping[str, Privacy]
) -> Result:
    spec, manifest = job.manifest.spec, job.manifest
    signers = _identities(job) if privacy or spec.encryption is not None else {}
    lay_out(
        job.directory,
        identity,
        spec,
        job.members,
        job.output,
        port=free_port(),
        privacy=privacy,
        identities=signers,
    )
    members = tuple(MemberView(m.participant.name) for m in job.members)
    screen.show(View(manifest.name, "Starting", total=spec.rounds, members=members))
    deadline = time.monotonic() + spec.active_deadline_seconds if spec.active_deadline_seconds else None
    with Processes(grace_seconds=_DRAIN_SECONDS) as processes:
        if signers:
            _make_first_models(job, identity, processes)
        for program in programs(job.directory, identity, job.members, job.app_path):
            processes.start(program)
        watch = _Watch(job, processes, screen)
        while (code := watch.look()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise watch.failed(Reason.DEADLINE_EXCEEDED, f"after {spec.active_deadline_seconds} s", 1)
            interrupt.look()
            time.sleep(_TICK_SECONDS)
        if code == 0:
            # Every trainer ends by itself once the end-of-job message has reached its gate.
            processes.wait([f"{m.participant.name}/trainer" for m in job.members], _FAREWELL_SECONDS)
    return _ended(watch, code)


def _identities(job: LocalJob) -> dict[str, str]:
    """Each owner's private identity key, which its gate signs with; beside its ledgers."""
    ledgers = Ledgers(job.ledger)
    return {
        member.participant.name: owner_identity(ledgers.of(member.participant.participant_ref.namespace))
        for member in job.members
    }


def _make_first_models(job: LocalJob, identity: Identity, processes: Processes) -> None:
    """Where there is no data, as the init container does. Raises RunFailed."""
    made = first_models(job.directory, identity, job.members, job.app_path)
    for program in made:
        processes.start(program)
    while any(processes.running(program.name) for program in made):
        time.sleep(_TICK_SECONDS)
    for ended in processes.poll():
        if ended.code != 0:
            name = ended.name.split("/")[0]
            index = next(m.index for m in job.members if m.participant.name == name)
            log = job.directory.check(index, name).termination_log
            text = log.read_text(errors="replace").strip() if log.is_file() else ""
            words = text.splitlines()[-1] if text else f"it ended with {ended.code}"
            step = f"The logs are in {job.directory.logs}."
            raise RunFailed(reason_for(ended.code), f"{name}: no first model: {words}", ended.code, step)


def _ended(watch: _Watch, code: int) -> Result:
    progress = watch.progress
    if code == 0 and progress is not None and watch.screen.last is not None:
        return Result(watch.screen.last, progress.model)
    said = progress is not None and progress.reason
    reason = progress.reason if progress is not None and said else str(reason_for(code))
    message = progress.message if progress is not None else ""
    raise watch.failed(reason, message or f"the launcher ended with {code}", code or 1)


def _code_of(reason: Reason) -> int:
    return next((int(c) for c in ExitCode if c != ExitCode.COMPLETE and reason_for(c) == reason), 1)


def read_progress(server: Paths) -> Progress | None:
    """The launcher's newest progress, or what it left when it ended; None before the first."""
    for file in (server.shared / "progress.json", server.termination_log):
        try:
            return Progress.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            continue  # not there yet, or an end without progress
    return None
