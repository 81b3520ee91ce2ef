"""Privacy of a `hanse run`: the plan of each participant, its reservation in the owner's ledger, and what it cost.

Called by `localrun`. The ledgers are the owners': one directory for each owner's namespace below `--ledger`, in it one
for each population. They are written by the gates and by `python3 -m hanse.runtime.ledger`, never from here.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import hanse
from hanse.api import names
from hanse.api.budget import Account, PrivacyBudgetSpec
from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec
from hanse.api.participation import JobRef
from hanse.api.planhash import canonical_hash
from hanse.api.privacy import ACCOUNTANT, Adversary, DifferentialPrivacy, PrivacyPlan, Slot
from hanse.cli.errors import RunFailed, UsageError
from hanse.cli.layout import Member
from hanse.dp import AccountingError, epsilons, resolve
from hanse.dp.worst import worst_epsilons

Budgets = Mapping[tuple[str, str], PrivacyBudgetSpec]

#: Nobody renews the lease of a run: it ends with the process that holds it, or at the latest then.
_LEASE: Final = timedelta(days=7)
_REFUSED: Final = 3
#: Of the owner, beside the populations (`hanse.runtime.ledger.file`).
CERTIFICATES: Final = "certificates"


@dataclass(frozen=True)
class Reserved:
    """One participant's part: its plan, and where it is charged."""

    participant: str
    namespace: str
    population: str
    account: str
    plan: PrivacyPlan
    plan_hash: str


def differential_privacy(spec: FederatedJobSpec) -> DifferentialPrivacy | None:
    """What the job asks, if it asks anything."""
    return spec.privacy.differential_privacy if spec.privacy is not None else None


def default_ledger() -> Path:
    """The user's data directory (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "hanse" / "ledger"


def heads_of(ledger: Path) -> Path:
    """Where the heads of a ledger are kept once more, in the user's state directory: an old backup of it is noticed.

    Found by an id in the ledger, so that a ledger may move, and a new one in its place is a new one.
    """
    known = ledger / "id"
    if not known.exists():
        known.write_text(uuid.uuid4().hex)
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "hanse" / "ledger-heads" / known.read_text().strip()


def resolve_all(spec: FederatedJobSpec, members: Sequence[Member], uid: str) -> list[Reserved]:
    """The plan of every participant. Raises UsageError when there can be none."""
    asked = differential_privacy(spec)
    if asked is None:
        return []
    found = []
    for member in members:
        name, namespace = member.participant.name, member.participant.participant_ref.namespace
        dataset = member.owner.dataset(member.participant.dataset)
        if dataset is None or dataset.population is None:
            raise UsageError(f"The dataset of {name} has no population", "The owner names its PrivacyBudget.")
        try:
            plan = _resolved(spec, asked, dataset.records, member.owner.policy.adversary)
        except AccountingError as error:
            raise UsageError(f"No privacy plan for {name}: {error}", "Change spec.privacy.") from error
        said = {"uid": uid, "participant": name, "plan": plan.to_wire(), "app": spec.app.to_wire()}
        account = names.account_id(uid, name)
        found.append(Reserved(name, namespace, dataset.population, account, plan, canonical_hash(said)))
    return found


def _resolved(
    spec: FederatedJobSpec, asked: DifferentialPrivacy, records: int | None, adversary: Adversary
) -> PrivacyPlan:
    if asked.mechanism == "Local" or spec.privacy is None:
        return resolve(asked, spec.rounds, records, adversary)
    t = spec.privacy.collusion_threshold
    return resolve(asked, spec.rounds, records, adversary, quorum=spec.effective_quorum, collusion_threshold=t)


@dataclass(frozen=True)
class Ledgers:
    """The owners' ledgers below one directory."""

    directory: Path

    def of(self, namespace: str) -> Path:
        """An owner's."""
        return self.directory / namespace

    def reserve(self, job: JobRef, reserved: Sequence[Reserved], budgets: Budgets) -> None:
        """Reserve the worst case of all, or of none. Raises RunFailed with what is left."""
        done: list[Reserved] = []
        for namespace, group in _by_owner(reserved):
            requests = [_request(job, each, _budget(budgets, each)) for each in group]
            try:
                self._call("reserve", namespace, holder=os.getpid(), requests=requests)
            except RunFailed:
                self.settle(done)
                raise
            done += group

    def accounts(self, reserved: Sequence[Reserved]) -> dict[str, Account]:
        """What each participant's gate has paid for, by participant."""
        found: dict[str, Account] = {}
        for namespace, group in _by_owner(reserved):
            told = self._call("accounts", namespace, accounts=_names(group))
            found |= {e.participant: Account.model_validate(told[e.account]) for e in group if e.account in told}
        return found

    def certificates(self, job: JobRef, reserved: Sequence[Reserved]) -> list[str]:
        """Where each participant's newest certificate is, one line for each that its gate could leave."""
        lines = []
        for each in reserved:
            name = names.participation_name(job.name, each.participant, job.uid)
            found = {
                int(path.stem.rpartition(".")[2]): path
                for path in (self.of(each.namespace) / CERTIFICATES).glob(f"certificate.{name}.*.json")
            }
            if found:
                lines.append(f"certificate  {each.participant} {found[max(found)]}")
        return lines

    def settle(self, reserved: Sequence[Reserved]) -> None:
        """Fold what was paid into what is spent, and give the rest back."""
        for namespace, group in _by_owner(reserved):
            self._call("settle", namespace, accounts=_names(group))

    def _call(self, command: str, namespace: str, **asked: Any) -> dict[str, Any]:
        directory = self.of(namespace)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        ours = str(Path(hanse.__file__).resolve().parent.parent)
        done = subprocess.run(
            [sys.executable, "-m", "hanse.runtime.ledger", command],
            input=json.dumps({"directory": str(directory), "second": str(heads_of(directory)), **asked}),
            env={**os.environ, "PYTHONPATH": ours},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, _REFUSED):
            raise RunFailed(Reason.BUDGET_DAMAGED, done.stderr.strip()[-500:], 1, f"The ledger is in {directory}.")
        answer: dict[str, Any] = json.loads(done.stdout)
        if "refused" in answer:
            step = f"The owner of {namespace} raises spec.epsilon of the PrivacyBudget, or the job asks for less."
            raise RunFailed(Reason.BUDGET_EXCEEDED, f"{namespace}: {answer['refused']}", 1, step)
        return answer


def report(reserved: Sequence[Reserved], accounts: Mapping[str, Account]) -> list[str]:
    """One line for each participant: what was released cost so much, with all that the number needs to mean it."""
    lines = []
    for each in reserved:
        account = accounts.get(each.participant)
        slots = [Slot.parse(key) for key in account.releases] if account is not None else []
        plan = each.plan
        spent, worst = epsilons(plan, slots), worst_epsilons(plan)
        by_figure: dict[str, list[str]] = {}
        for adversary, value in spent.items():
            by_figure.setdefault(f"{value:.2f}/{worst[adversary]:.2f}", []).append(adversary)
        # What is charged comes first.
        ordered = sorted(by_figure.items(), key=lambda item: plan.adversary not in item[1])
        told = [f"{figure} against {' and '.join(who)}" for figure, who in ordered]
        text = ", ".join(told) if len(told) > 1 else ordered[0][0]
        lines.append(
            f"epsilon  {each.participant} {text} in {len(slots)} releases; unit {plan.unit}, adjacency "
            f"{plan.adjacency}, delta {plan.delta}, adversary {plan.adversary}, mechanism {plan.mechanism}, "
            f"accountant {ACCOUNTANT}"
        )
    return lines


def _by_owner(reserved: Sequence[Reserved]) -> Iterator[tuple[str, list[Reserved]]]:
    for namespace in sorted({each.namespace for each in reserved}):
        yield namespace, [each for each in reserved if each.namespace == namespace]


def _names(group: Sequence[Reserved]) -> list[dict[str, str]]:
    return [{"population": each.population, "name": each.account} for each in group]


def _budget(budgets: Budgets, each: Reserved) -> PrivacyBudgetSpec:
    found = budgets.get((each.namespace, each.population))
    if found is None:
        raise UsageError(
            f"PrivacyBudget {each.namespace}/{each.population} of participant {each.participant} is not in the files",
            "Name the file that holds it too, or the directory of both.",
        )
    return found


def _request(job: JobRef, each: Reserved, budget: PrivacyBudgetSpec) -> dict[str, Any]:
    account = Account(
        job=job,
        participation=names.participation_name(job.name, each.participant, job.uid),
        plan_hash=each.plan_hash,
        plan=each.plan,
        lease_until=datetime.now(UTC) + _LEASE,
    )
    return {
        "population": each.population,
        "spec": budget.to_wire(),
        "name": each.account,
        "account": account.to_wire(),
    }
