"""CustomResourceDefinitions from the kinds' models. Called by `hanse.dev.generate` and by the integration tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from hanse.api import names
from hanse.api.budget import PrivacyBudgetSpec, PrivacyBudgetStatus
from hanse.api.job import MUTABLE_SPEC_FIELDS, FederatedJobSpec, FederatedJobStatus
from hanse.api.participant import ParticipantSpec
from hanse.api.participant import ParticipantStatus as ParticipantKindStatus
from hanse.api.participation import ParticipationSpec, ParticipationStatus
from hanse.dev.schema import Schema, structural_schema

Crd = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A printer column; `wide` ones show with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As in spec.versions[].additionalPrinterColumns."""
        column = {"name": self.name, "type": self.type, "description": self.description, "jsonPath": self.path}
        return {**column, "priority": 1} if self.wide else column


@dataclass(frozen=True)
class Kind:
    """What a CRD says beyond the models."""

    kind: str
    plural: str
    short: str
    spec: type[BaseModel]
    status: type[BaseModel]
    description: str
    columns: tuple[Column, ...]
    categories: tuple[str, ...] = ("hanse",)
    short_name: bool = True
    frozen_at_start: tuple[str, ...] = ()
    frozen: tuple[str, ...] = field(default=())
    status_stays: bool = False
    rules: tuple[Mapping[str, str], ...] = ()

    @property
    def singular(self) -> str:
        """Lower-case name of the kind."""
        return self.kind.lower()

    @property
    def file_name(self) -> str:
        """File of the CRD."""
        return f"{names.GROUP}_{self.plural}.yaml"


def _wire_fields(model: type[BaseModel], *, without: tuple[str, ...]) -> tuple[str, ...]:
    aliases = (info.alias or name for name, info in model.model_fields.items())
    return tuple(alias for alias in aliases if alias not in without)


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Since when it exists.", type="date")

#: The key of an encrypted job is known to its gates alone.
_KEPT_RUNNING: Final = {
    "rule": "!self.spec.suspend || oldSelf.spec.suspend || !has(oldSelf.status) || !has(oldSelf.status.startTime) || "
    "!has(self.spec.privacy) || !has(self.spec.privacy.encryption) || self.spec.privacy.encryption.scheme == 'None'",
    "message": "spec.suspend cannot be set once an encrypted job has started: its key lives in the gates alone and "
    "would be lost with them; delete the job and create it anew",
    "fieldPath": ".spec.suspend",
}

KINDS: Final = (
    Kind(
        kind="FederatedJob",
        plural="federatedjobs",
        short="fj",
        spec=FederatedJobSpec,
        status=FederatedJobStatus,
        description="A FederatedJob says what to train, with whom and for how many rounds.",
        columns=(
            Column("State", ".status.summary.state", "One word; the conditions have the truth."),
            Column("Round", ".status.summary.round", "Completed and total rounds."),
            Column("Participants", ".status.summary.participants", "Ready and total participants."),
            Column("Metric", ".status.summary.metric", "Newest evaluation metric."),
            Column("Epsilon", ".status.summary.epsilon", "Epsilon spent and asked."),
            Column("Encryption", ".status.summary.encryption", "Scheme under which updates leave.", wide=True),
            Column("Reason", ".status.summary.reason", "Reason of the condition behind the state.", wide=True),
            Column("ETA", ".status.summary.eta", "Estimated time left.", wide=True),
            _AGE,
        ),
        categories=("hanse", "all"),
        frozen_at_start=_wire_fields(FederatedJobSpec, without=MUTABLE_SPEC_FIELDS),
        rules=(_KEPT_RUNNING,),
    ),
    Kind(
        kind="Participant",
        plural="participants",
        short="part",
        spec=ParticipantSpec,
        status=ParticipantKindStatus,
        description="A Participant is a data owner: an identity, datasets and a policy, in the owner's namespace.",
        columns=(
            Column("Organisation", ".spec.organisation", "Name of the organisation."),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether jobs can use it."),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why.", wide=True),
            _AGE,
        ),
    ),
    Kind(
        kind="Participation",
        plural="participations",
        short="pn",
        spec=ParticipationSpec,
        status=ParticipationStatus,
        description=(
            "A Participation is one participant's part in one job, in the owner's namespace. "
            "The operator writes it; an owner who deletes it has left the job."
        ),
        columns=(
            Column("Job", ".spec.jobRef.name", "The job that asks."),
            Column("From", ".spec.jobRef.namespace", "Namespace of the job."),
            Column("Dataset", ".spec.plan.dataset", "Dataset that is used."),
            # Its status would say False of a client that is done, too.
            Column("State", '.status.conditions[?(@.type=="ClientReady")].reason', "One word: what its client does."),
            Column("Contributed", ".status.roundsContributed", "Rounds that hold an update.", type="integer"),
            Column("Encryption", ".spec.plan.encryption.scheme", "Scheme under which updates leave.", wide=True),
            Column("Failure", ".status.failure.reason", "Why its last container failed.", wide=True),
            _AGE,
        ),
        short_name=False,
        frozen=_wire_fields(ParticipationSpec, without=("suspend",)),
    ),
    Kind(
        kind="PrivacyBudget",
        plural="privacybudgets",
        short="pb",
        spec=PrivacyBudgetSpec,
        status=PrivacyBudgetStatus,
        description=(
            "A PrivacyBudget bounds what all jobs together may learn about one population, for ever. "
            "Its owner writes the spec; the status is the ledger and only grows."
        ),
        columns=(
            Column("Unit", ".spec.unit", "Whose data is hidden.", wide=True),
            Column("Total", ".spec.epsilon", "All that may be spent."),
            Column("Spent", ".status.spent.epsilon", "What jobs that have ended released."),
            Column("Reserved", ".status.reserved.epsilon", "Worst case of the jobs that run."),
            Column("Left", ".status.left", "What still fits; losses compose, they do not add up."),
            Column("Delta", ".spec.delta", "At which losses are converted.", wide=True),
            Column("Entries", ".status.entries", "Releases ever written.", type="integer", wide=True),
            _AGE,
        ),
        status_stays=True,
    ),
)

_SHORT_NAME_RULE: Final = {
    "rule": "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "message": "metadata.name must be a DNS label of at most 40 characters (its children's names are made of it)",
}


#: A rule below `status` is not asked when all of it is removed.
_STATUS_STAYS: Final = {
    "rule": "!has(oldSelf.status) || has(self.status)",
    "message": "status cannot be removed: it is the ledger",
}


def build_crd(kind: Kind) -> Crd:
    """The CustomResourceDefinition of one kind."""
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.to_dict() for column in kind.columns],
        "schema": {"openAPIV3Schema": _root_schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{names.GROUP}", "labels": {"app.kubernetes.io/part-of": "hanse"}},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": list(kind.categories),
            },
            "versions": [version],
        },
    }


def _root_schema(kind: Kind) -> Schema:
    spec = structural_schema(kind.spec, defaults=True)
    if kind.frozen:
        frozen = [_frozen_rule(spec, name, "self", "") for name in kind.frozen]
        spec["x-kubernetes-validations"] = [*spec.get("x-kubernetes-validations", []), *frozen]
    root: Schema = {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object.", "maxLength": 64},
            "kind": {"type": "string", "description": "Kind of this object.", "maxLength": 64},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(kind.status, defaults=False),
        },
    }
    rules: list[Mapping[str, str]] = [_SHORT_NAME_RULE] if kind.short_name else []
    rules += kind.rules
    if kind.status_stays:
        rules.append(_STATUS_STAYS)
    started = "has(oldSelf.status) && has(oldSelf.status.startTime)"
    rules += [_frozen_rule(spec, name, "self.spec", f"!({started}) || ") for name in kind.frozen_at_start]
    return {**root, "x-kubernetes-validations": rules} if rules else root


def _frozen_rule(spec: Schema, name: str, holder: str, unless: str) -> dict[str, str]:
    """A transition rule: the field is what it was. One for each field, so that the message can name it."""
    new, old = f"{holder}.{name}", f"{holder.replace('self', 'oldSelf', 1)}.{name}"
    same = f"{new} == {old}"
    if name not in spec.get("required", []):
        same = f"(has({new}) ? has({old}) && {same} : !has({old}))"
    when = "once the job has started" if unless else "in a Participation"
    return {
        "rule": f"{unless}{same}",
        "message": f"spec.{name} cannot be changed {when}: delete the job and create it anew",
        "fieldPath": f"{'.spec' if unless else ''}.{name}",
    }
