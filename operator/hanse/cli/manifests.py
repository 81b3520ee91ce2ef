"""Our kinds read from YAML, every problem at once. For `hanse run` and `hanse check`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic.config import ConfigDict

from hanse.api import names
from hanse.api.budget import PrivacyBudgetSpec
from hanse.api.job import FederatedJobSpec
from hanse.api.meta import LABEL_PATTERN, ShortName
from hanse.api.participant import ParticipantSpec
from hanse.cli.acceptance import Finding, acceptance
from hanse.cli.errors import ManifestError, Problem, UsageError
from hanse.cli.explain import explain, path_text
from hanse.cli.yamlfiles import Document, Location, read_documents

Spec = TypeVar("Spec", bound=BaseModel)


class _Metadata(BaseModel):
    """The part of metadata that matters here; labels and the rest are the API server's matter."""

    model_config = ConfigDict(extra="ignore")
    name: ShortName = Field(description="Name of the object.")
    namespace: Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)] = "default"


@dataclass(frozen=True)
class Manifest(Generic[Spec]):
    """One object of ours and where it was read."""

    kind: str
    namespace: str
    name: str
    spec: Spec
    document: Document

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def problem(self, finding: Finding) -> Problem:
        """The finding with its place in the file."""
        message = f"{finding.message} ({finding.reason})"
        line = self.document.line(finding.location)
        return Problem(
            self.document.source, line, self.subject, path_text(finding.location), message, finding.next_step
        )


@dataclass(frozen=True)
class Manifests:
    """What the files hold."""

    jobs: tuple[Manifest[FederatedJobSpec], ...]
    participants: tuple[Manifest[ParticipantSpec], ...]
    others: tuple[str, ...]
    budgets: tuple[Manifest[PrivacyBudgetSpec], ...] = ()

    def owners(self) -> dict[tuple[str, str], ParticipantSpec]:
        """Participants by (namespace, name)."""
        return {(p.namespace, p.name): p.spec for p in self.participants}

    def job(self, name: str | None = None) -> Manifest[FederatedJobSpec]:
        """The one FederatedJob, or the one of that name."""
        found = [j for j in self.jobs if name is None or j.name == name]
        if len(found) == 1:
            return found[0]
        known = ", ".join(j.name for j in self.jobs)
        if not self.jobs:
            raise UsageError("No FederatedJob in the files", "Name the file that holds it.")
        if name is None:
            raise UsageError(f"{len(found)} FederatedJobs in the files: {known}", "Choose one with --job NAME.")
        raise UsageError(f"No single FederatedJob {name} in the files", f"They hold: {known}.")

    def refusals(self, job: Manifest[FederatedJobSpec]) -> list[tuple[Finding, Problem]]:
        """What the operator would refuse if the files' Participants and PrivacyBudgets were all there is."""
        budgets = {(b.namespace, b.name): b.spec for b in self.budgets}
        return [(f, job.problem(f)) for f in acceptance(job.namespace, job.spec, self.owners(), budgets)]


def load(paths: Sequence[Path]) -> Manifests:
    """Read and validate. Raises `ManifestError` with all problems of all objects."""
    problems: list[Problem] = []
    jobs: list[Manifest[FederatedJobSpec]] = []
    participants: list[Manifest[ParticipantSpec]] = []
    budgets: list[Manifest[PrivacyBudgetSpec]] = []
    others: list[str] = []
    for document in read_documents(paths):
        for item in _objects(document, problems):
            kind = str(item.value.get("kind", ""))
            if kind == "FederatedJob" and (job := _object(item, kind, FederatedJobSpec, problems)):
                jobs.append(job)
            elif kind == "Participant" and (owner := _object(item, kind, ParticipantSpec, problems)):
                participants.append(owner)
            elif kind == "PrivacyBudget" and (budget := _object(item, kind, PrivacyBudgetSpec, problems)):
                budgets.append(budget)
            elif kind not in ("FederatedJob", "Participant", "PrivacyBudget"):
                others.append(kind)
    problems += [*_repeated(jobs), *_repeated(participants), *_repeated(budgets)]
    if problems:
        raise ManifestError(problems)
    return Manifests(tuple(jobs), tuple(participants), tuple(others), tuple(budgets))


def _objects(document: Document, problems: list[Problem]) -> Iterator[Document]:
    """The document, or the items of a List."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        problems.append(
            Problem(
                document.source,
                document.line(()),
                "",
                "",
                "not a Kubernetes object: no kind",
                "Begin with apiVersion, kind and metadata.",
            )
        )
        return
    if value["kind"] != "List" or not isinstance(value.get("items"), list):
        yield document
        return
    items_node = next(v for k, v in document.node.value if k.value == "items")
    for item, node in zip(value["items"], items_node.value, strict=True):
        yield from _objects(Document(document.source, item, node), problems)


def _object(document: Document, kind: str, model: type[Spec], problems: list[Problem]) -> Manifest[Spec] | None:
    value: dict[str, Any] = document.value
    before = len(problems)
    given = value.get("metadata")
    given = given if isinstance(given, dict) else {}
    subject = f"{kind} {given.get('namespace', 'default')}/{given.get('name', '?')}"

    def add(location: Location, message: str, next_step: str) -> None:
        line = document.line(location)
        problems.append(Problem(document.source, line, subject, path_text(location), message, next_step))

    if value.get("apiVersion") != names.API_VERSION:
        add(("apiVersion",), f"must be {names.API_VERSION}, not {value.get('apiVersion')}", "Change it.")
    for key in value.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}:
        add((key,), "is not a field", "Move it below spec.")
    metadata = _parsed(_Metadata, given, ("metadata",), add)
    spec = _parsed(model, value.get("spec"), ("spec",), add)
    if metadata is None or spec is None or len(problems) > before:
        return None
    return Manifest(kind, metadata.namespace, metadata.name, spec, document)


Parsed = TypeVar("Parsed", bound=BaseModel)


def _parsed(model: type[Parsed], value: Any, prefix: Location, add: Any) -> Parsed | None:
    if value is None:
        add(prefix, "is required", f"Add {path_text(prefix)}.")
        return None
    try:
        # Strict, as the API server is: "20" is no number and 64 no string.
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        for detail in error.errors():
            for location, message, next_step in explain(detail, model):
                add((*prefix, *location), message, next_step)
        return None


def _repeated(found: Iterable[Manifest[Any]]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for item in found:
        if (item.namespace, item.name) in seen:
            line = item.document.line(("metadata", "name"))
            yield Problem(
                item.document.source, line, item.subject, "metadata.name", "appears twice", "Keep one of them."
            )
        seen.add((item.namespace, item.name))
