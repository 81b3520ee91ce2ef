"""What a plan is made from and what it is made of: frozen facts. Built by `observe`, carried out by `execute`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hanse.api import participant as participant_api
from hanse.api.budget import Account, PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.conditions import Condition, Reason
from hanse.api.job import FederatedJobSpec, FederatedJobStatus
from hanse.api.meta import ApiModel
from hanse.api.participation import ParticipationSpec, ParticipationStatus
from hanse.api.progress import Progress
from hanse.api.runconfig import SERVER_LOST_SECONDS
from hanse.controller.views import JobView, Meta, PodView

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """The last action for this object failed; kept by the engine until one succeeds."""

    reason: Reason
    message: str
    namespace: str = ""


@dataclass(frozen=True)
class Defaults:
    """What the operator's settings decide about new jobs."""

    operator_namespace: str
    server_image: str
    gate_image: str
    allow_image_tags: bool
    progress_base: str
    server_lost_seconds: int = SERVER_LOST_SECONDS


@dataclass(frozen=True)
class Lookup:
    """A Participant that a job names. `found` is None when it is not there; `denied` when we may not look.

    `identity`: public half of the owner's identity key, PEM, as its status shows it.
    """

    found: participant_api.ParticipantSpec | None = None
    denied: bool = False
    invalid: str = ""
    identity: str | None = None


@dataclass(frozen=True)
class BudgetLookup:
    """A PrivacyBudget that a dataset's population names. No `meta`: it is not there; no `spec`: nor is it when invalid.

    `covered`: its copy in the operator's namespace knows all that is reserved, so that nothing is lost with it.
    """

    meta: Meta | None = None
    spec: PrivacyBudgetSpec | None = None
    status: PrivacyBudgetStatus = field(default_factory=PrivacyBudgetStatus)
    denied: bool = False
    invalid: str = ""
    covered: bool = False


@dataclass(frozen=True)
class ParticipationView:
    """A Participation of the job."""

    meta: Meta
    spec: ParticipationSpec
    status: ParticipationStatus


@dataclass(frozen=True)
class ObservedJob:
    """A FederatedJob and all that its plan depends on."""

    meta: Meta
    defaults: Defaults
    spec: FederatedJobSpec | None
    status: FederatedJobStatus
    spec_error: str = ""
    #: By (namespace, name) of participantRef; only while the job has not started.
    lookups: Mapping[tuple[str, str], Lookup] = field(default_factory=dict)
    #: Claims by (namespace, name): True there, False not, None not known (no permission to look).
    claims: Mapping[tuple[str, str], bool | None] = field(default_factory=dict)
    #: By participant name.
    participations: Mapping[str, ParticipationView] = field(default_factory=dict)
    #: Participants whose Participation a live GET no longer found.
    left: frozenset[str] = frozenset()
    #: PrivacyBudgets by (namespace, name); only of jobs with differential privacy that have not started.
    budgets: Mapping[tuple[str, str], BudgetLookup] = field(default_factory=dict)
    ca_certificate: str | None = None
    #: When the server's certificate ends; only known while the server Job waits in a queue.
    server_tls_expires: datetime | None = None
    server_job: JobView | None = None
    server_pods: tuple[PodView, ...] = ()
    progress: Progress | None = None
    problem: Problem | None = None
    #: Serving CA of the progress endpoint, PEM.
    operator_ca: str = ""


@dataclass(frozen=True)
class Identity:
    """The client Secret as it is: for which generation of the Participation, and until when, its certificate is."""

    public_key: str
    generation: int
    expires: datetime


@dataclass(frozen=True)
class ObservedParticipation:
    """A Participation and all that its plan depends on."""

    meta: Meta
    spec: ParticipationSpec
    status: ParticipationStatus
    participant: Lookup
    identity: Identity | None = None
    client_job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    rounds_contributed: int = 0
    server_lost_seconds: int = SERVER_LOST_SECONDS
    problem: Problem | None = None
    #: The PrivacyBudget that the plan names; None: it names none.
    budget: BudgetLookup | None = None


@dataclass(frozen=True)
class Mirror:
    """A copy of what a budget has cost at most, in a ConfigMap: it outlives the budget and every backup of it."""

    uid: str
    pages: int
    folded: tuple[float, ...]
    worst: tuple[float, ...]
    entries: int = 0
    chain_head: str | None = None
    #: Digests of datasets, with the time and the name under which each was first seen.
    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: What the cost was counted for; empty in copies of an older operator.
    unit: str = ""
    resource_version: str = ""


@dataclass(frozen=True)
class ObservedBudget:
    """A PrivacyBudget and all that its plan depends on."""

    meta: Meta
    spec: PrivacyBudgetSpec | None
    status: PrivacyBudgetStatus
    spec_error: str = ""
    #: The copy in the owner's namespace and the operator's; None: there is none.
    mirrors: tuple[Mirror | None, Mirror | None] = (None, None)
    #: Copies of the owner's other budgets, by name; the budgets themselves may be gone.
    foreign: Mapping[str, Mirror] = field(default_factory=dict)
    #: A copy of ours that cannot be read: nothing may be reserved.
    damaged: str = ""
    #: The status itself cannot be read: it is left alone.
    unreadable: str = ""
    operator_namespace: str = ""
    #: Accounts whose jobs live: their leases are renewed.
    alive: frozenset[str] = frozenset()
    #: Accounts whose jobs are finished or gone.
    over: frozenset[str] = frozenset()
    #: The owner's identity key, PEM, where an account was closed with a signature.
    identity: str | None = None


@dataclass(frozen=True)
class ObservedParticipant:
    """A Participant and which of its claims are there."""

    meta: Meta
    spec: participant_api.ParticipantSpec | None
    status: participant_api.ParticipantStatus
    claims: Mapping[str, bool | None] = field(default_factory=dict)
    spec_error: str = ""
    #: Public half of the owner's identity key, PEM; None: no key, or none is needed.
    identity: str | None = None
    #: Whether gates sign for it: a population is charged, or an encrypted job asks.
    signs: bool = False


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnsureAuthority:
    """The job's CA: key in the operator's namespace, with an index entry that the sweep can list."""

    job: Meta

    @property
    def namespace(self) -> str:
        return self.job.namespace


@dataclass(frozen=True)
class EnsureServerTls:
    """A new server certificate from the job's CA."""

    job: Meta
    #: spec.activeDeadlineSeconds: the certificate must last as long.
    active_seconds: int | None = None

    @property
    def namespace(self) -> str:
        return self.job.namespace


@dataclass(frozen=True)
class EnsureIdentity:
    """The SuperNode key (kept) and a new client certificate from the job's CA."""

    participation: Meta
    spec: ParticipationSpec

    @property
    def namespace(self) -> str:
        return self.participation.namespace


@dataclass(frozen=True)
class EnsureOwnerIdentity:
    """The owner's identity key, once and for all."""

    namespace: str


@dataclass(frozen=True)
class Reserve:
    """Put an account into a PrivacyBudget, if it still fits there."""

    namespace: str
    budget: str
    account_id: str
    account: Account


@dataclass(frozen=True)
class ReturnReservation:
    """Close an account that no gate has ever opened."""

    namespace: str
    budget: str
    account_id: str


@dataclass(frozen=True)
class Apply:
    """Server-side apply."""

    manifest: Manifest

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])


@dataclass(frozen=True)
class Create:
    """Create; one that is there already is left as it is."""

    manifest: Manifest

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])


@dataclass(frozen=True)
class Delete:
    """Delete in the background."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class SetSuspend:
    """Set spec.suspend of a Participation."""

    namespace: str
    name: str
    suspend: bool


Action = (
    EnsureAuthority
    | EnsureServerTls
    | EnsureIdentity
    | Apply
    | Create
    | Delete
    | SetSuspend
    | EnsureOwnerIdentity
    | Reserve
    | ReturnReservation
)


@dataclass(frozen=True)
class Note:
    """An Event to record once the status that it tells of is written."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Plan:
    """Actions in order, then one status write, then when to look again (None: when something changes)."""

    status: ApiModel
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
    after: float | None = None
    #: Participants that can contribute no more: the server need not wait for them.
    lost: frozenset[str] = frozenset()


Conditions = tuple[Condition, ...]
