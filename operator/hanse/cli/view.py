"""What a person sees of a job, from the launcher's progress (`hanse run`) or from the job's status (`hanse watch`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hanse.api.conditions import Condition, JobCondition
from hanse.api.job import FederatedJobStatus, RoundRecord
from hanse.api.progress import Progress

_STATES: Final = {"WaitingForParticipants": "Waiting"}
#: As much of a fingerprint as a person compares at a glance.
_FINGERPRINT: Final = len("sha256:") + 12
_ENDED: Final = ("Complete", "Failed", "Refused")
_PREFERRED: Final = ("auc", "accuracy", "f1", "loss", "train_loss")


@dataclass(frozen=True)
class Member:
    """One participant."""

    name: str
    ready: bool = False
    rounds: int = 0
    note: str = ""


@dataclass(frozen=True)
class View:
    """One moment of a job."""

    job: str
    state: str
    completed: int = 0
    total: int = 0
    members: tuple[Member, ...] = ()
    rounds: tuple[RoundRecord, ...] = ()
    eta_seconds: int | None = None
    reason: str = ""
    message: str = ""
    model: str = ""
    resumed: int = 0
    encryption: str = ""

    @property
    def ended(self) -> bool:
        return self.state in _ENDED


@dataclass
class History:
    """Status and progress keep the newest rounds only; this keeps all that were seen, oldest first."""

    _rounds: dict[int, RoundRecord] = field(default_factory=dict)

    def fill(self, view: View) -> View:
        """The view with every round seen so far."""
        self._rounds.update({r.number: r for r in view.rounds})
        return replace(view, rounds=tuple(self._rounds[n] for n in sorted(self._rounds)))


def from_progress(job: str, progress: Progress) -> View:
    """What the launcher says."""
    return View(
        job=job,
        state=_STATES.get(progress.phase, progress.phase),
        completed=progress.completed,
        total=progress.total,
        members=tuple(Member(p.name, p.connected, p.rounds_contributed, p.reason) for p in progress.participants),
        rounds=tuple(sorted(progress.rounds, key=lambda r: r.number)),
        eta_seconds=progress.eta_seconds,
        reason=progress.reason,
        message=progress.message,
        model=progress.model.digest if progress.model else "",
        resumed=progress.resumed,
        encryption=_key(told.maker, told.fingerprint, told.holders) if (told := progress.encryption) else "",
    )


def _key(maker: str, fingerprint: str, holders: Sequence[str] | None) -> str:
    """Who made the key of an encrypted job, and who holds it; empty until there is one."""
    if not fingerprint:
        return ""
    held = "" if holders is None else f", held by {', '.join(holders) or 'nobody'}"
    return f"updates are encrypted under key {fingerprint[:_FINGERPRINT]} of {maker}{held}"


def from_status(job: str, status: FederatedJobStatus, rounds: int) -> View:
    """What the operator says; `rounds` is the job's spec.rounds."""
    explaining = _explaining(status.conditions)
    done, privacy = status.round, status.privacy
    return View(
        job=job,
        state=status.summary.state,
        completed=done.completed if done else 0,
        total=done.total if done else rounds,
        members=tuple(
            Member(p.name, p.ready, p.rounds_contributed, ": ".join(filter(None, (p.reason, p.message))))
            for p in status.participants
        ),
        rounds=tuple(sorted(status.rounds, key=lambda r: r.number)),
        eta_seconds=done.eta_seconds if done else None,
        reason=explaining.reason if explaining else status.summary.reason,
        message=explaining.message if explaining else "",
        model=f"{status.model.claim}:{status.model.path} {status.model.digest}" if status.model else "",
        encryption=_key(privacy.key_maker or "", privacy.key_fingerprint or "", privacy.key_holders) if privacy else "",
    )


def _explaining(conditions: Sequence[Condition]) -> Condition | None:
    """The condition that says most about where the job stands."""
    by_type: Mapping[str, Condition] = {c.type: c for c in conditions}
    for kind, status in (
        (JobCondition.FAILED, "True"),
        (JobCondition.COMPLETE, "True"),
        (JobCondition.ACCEPTED, "False"),
        (JobCondition.SUSPENDED, "True"),
        (JobCondition.SERVER_READY, "False"),
        (JobCondition.PARTICIPANTS_READY, "False"),
        (JobCondition.KEYS_READY, "False"),
        (JobCondition.FULL_PARTICIPATION, "False"),
    ):
        condition = by_type.get(kind)
        if condition is not None and condition.status == status:
            return condition
    return None


def metric_columns(rounds: Sequence[RoundRecord], limit: int = 5) -> list[str]:
    """Names of the metrics worth a column: the usual ones first, then by name."""
    known = {name for record in rounds for name in record.metrics}
    usual = [name for name in _PREFERRED if name in known]
    return (usual + sorted(known - set(usual)))[:limit]


def number(text: str) -> str:
    """A decimal as it is shown: four digits after the point, exponents for the very small and large."""
    value = float(text)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"


def duration(seconds: float) -> str:
    """5m40s, 12s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def round_line(record: RoundRecord, total: int) -> str:
    """`round 3/20  3 updates  1.2s  auc=0.7712 loss=0.4310`, and who is missing and why."""
    metrics = " ".join(f"{n}={number(record.metrics[n])}" for n in metric_columns([record]))
    text = f"round {record.number}/{total}  {record.contributed} updates  {float(record.seconds):.1f}s  {metrics}"
    if record.missing:
        text += f"  missing: {missing(record)}"
    return text.rstrip()


def missing(record: RoundRecord) -> str:
    """Who is not in the round, with the reason."""
    return ", ".join(f"{name} ({record.reasons[name]})" if name in record.reasons else name for name in record.missing)


def lines(before: View | None, now: View) -> list[str]:
    """What is new since `before`, one fact a line: the plain output where there is no terminal."""
    found: list[str] = []
    earlier = {m.name: m for m in before.members} if before else {}
    for member in now.members:
        old = earlier.get(member.name, Member(member.name))
        if member.ready != old.ready:
            found.append(f"{now.job}: {member.name} {'is ready' if member.ready else 'is gone'}")
        if member.note != old.note and not member.ready and member.note:
            found.append(f"{now.job}: {member.name}: {member.note}")
    if now.resumed > (before.resumed if before else 0):
        found.append(f"{now.job}: resumed from the checkpoint ({now.resumed})")
    if now.encryption != (before.encryption if before else "") and now.encryption:
        found.append(f"{now.job}: {now.encryption}")
    known = {r.number for r in before.rounds} if before else set()
    found += [f"{now.job}: {round_line(r, now.total)}" for r in now.rounds if r.number not in known]
    if before is not None and (before.state, before.reason) == (now.state, now.reason):
        return found
    return [*found, _state_line(now)] if now.ended else [_state_line(now), *found]


def _state_line(view: View) -> str:
    text = f"{view.job}: {view.state}"
    if view.reason and view.reason not in ("-", view.state):
        text += f" ({view.reason})"
    return f"{text}: {view.message}" if view.message else text
