"""Gathers what a plan depends on: the cache first, the API server where the cache may not be trusted.

Called by the engine.
"""

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from hanse.api import names
from hanse.api.job import FederatedJobSpec, FederatedJobStatus
from hanse.api.participant import ParticipantSpec, ParticipantStatus
from hanse.api.participation import ParticipationSpec, ParticipationStatus
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.dispatch import signers
from hanse.controller.door import Door
from hanse.controller.manifests.client import ANNOTATION_GENERATION
from hanse.controller.observe_budget import BudgetObserver
from hanse.controller.parse import decode, expiry, parse_model, parse_status
from hanse.controller.progress.store import ProgressStore
from hanse.controller.queue import Key
from hanse.controller.reconcile.model import (
    BudgetLookup,
    Defaults,
    Identity,
    Lookup,
    ObservedBudget,
    ObservedJob,
    ObservedParticipant,
    ObservedParticipation,
    ParticipationView,
    Problem,
)
from hanse.controller.views import Custom, JobView, Meta, parse_meta
from hanse.pki.nodekeys import public_key_of


class Observer:
    """Reads for one operator process."""

    def __init__(self, cache: Cache, door: Door, progress: ProgressStore, defaults: Defaults) -> None:
        self._cache = cache
        self._door = door
        self._progress = progress
        self._defaults = defaults
        self._budgets = BudgetObserver(cache, door, defaults.operator_namespace)
        #: CA certificates by job uid, for jobs whose server is there: they need no other.
        self._authorities: dict[str, str] = {}
        #: uids of Participations that a live GET no longer found, by job uid.
        self._gone: dict[str, set[str]] = {}
        self.operator_ca = ""

    def keep(self, job_uids: Set[str]) -> None:
        """Forget what is known of all other jobs. Nothing is lost by it but a few calls."""
        self._authorities = {uid: found for uid, found in self._authorities.items() if uid in job_uids}
        self._gone = {uid: found for uid, found in self._gone.items() if uid in job_uids}

    def remembered(self) -> int:
        """Of how many jobs something is known."""
        return len(self._authorities.keys() | self._gone.keys())

    async def job(self, view: Custom, problem: Problem | None) -> ObservedJob:
        """Everything about a FederatedJob."""
        spec, error = parse_model(FederatedJobSpec, view.spec)
        status = parse_status(FederatedJobStatus, view.status)
        meta = view.meta
        finished = any(c.status == "True" for c in status.conditions if c.type in ("Complete", "Failed"))
        started = status.start_time is not None
        fresh = spec is not None and not started
        server_job = _owned(self._cache.job(meta.namespace, names.server_name(meta.name)), meta)
        return ObservedJob(
            meta=meta,
            defaults=self._defaults,
            spec=spec,
            spec_error=error,
            status=status,
            lookups=await self._lookups(spec) if fresh and spec is not None else {},
            claims=await self._claims(meta.namespace, spec) if fresh and spec is not None else {},
            budgets=await self._budgets_of(spec) if fresh and spec is not None else {},
            participations=self._participations(meta, spec, status),
            left=await self._left(meta, spec, status) if started and not finished else frozenset(),
            ca_certificate=await self._authority(meta.uid, server_job) if started and not finished else None,
            server_tls_expires=await self._server_tls(meta, server_job) if not finished else None,
            server_job=server_job,
            server_pods=tuple(
                pod
                for pod in self._cache.pods_of(kinds.POD, meta.uid, meta.namespace)
                if pod.meta.labels.get(names.LABEL_ROLE) == names.ROLE_SERVER
            ),
            progress=self._progress.get(meta.uid),
            problem=problem,
            operator_ca=self.operator_ca,
        )

    def _participations(
        self, meta: Meta, job_spec: FederatedJobSpec | None, job: FederatedJobStatus
    ) -> dict[str, ParticipationView]:
        found = {}
        places = {m.name: m.participant_ref.namespace for m in job_spec.participants} if job_spec is not None else {}
        for view in self._cache.of_job(kinds.PARTICIPATION, meta.uid):
            if not isinstance(view, Custom):
                continue
            spec, _ = parse_model(ParticipationSpec, view.spec)
            if spec is None:
                continue
            name = spec.plan.participant
            # Labels and plan are anybody's to write: another owner must not speak for this one.
            if (places.get(name), names.participation_name(meta.name, name, meta.uid)) != view.meta.key:
                continue
            # One that was made anew by somebody else is not the one that was agreed on.
            if job.participations.get(name, view.meta.uid) == view.meta.uid:
                status = parse_status(ParticipationStatus, view.status)
                found[name] = ParticipationView(view.meta, spec, status)
        return found

    async def _budgets_of(self, spec: FederatedJobSpec) -> dict[tuple[str, str], BudgetLookup]:
        """The PrivacyBudgets of the datasets that a private job uses."""
        wanted = set()
        for member in spec.participants if spec.differential_privacy is not None else ():
            reference = member.participant_ref
            view = self._cache.custom(kinds.PARTICIPANT, reference.namespace, reference.name)
            found, _ = parse_model(ParticipantSpec, view.spec) if view is not None else (None, "")
            dataset = found.dataset(member.dataset) if found is not None else None
            if dataset is not None and dataset.population is not None:
                wanted.add((reference.namespace, dataset.population))
        return {each: await self._budgets.lookup(*each, live=True) for each in sorted(wanted)}

    async def budget(self, view: Custom) -> ObservedBudget:
        """Everything about a PrivacyBudget."""
        return await self._budgets.budget(view)

    async def _lookups(self, spec: FederatedJobSpec) -> dict[tuple[str, str], Lookup]:
        references = {(m.participant_ref.namespace, m.participant_ref.name) for m in spec.participants}
        return {reference: await self.lookup(*reference) for reference in sorted(references)}

    async def lookup(self, namespace: str, name: str) -> Lookup:
        """A Participant: from the cache, or live before it is said to be missing."""
        view = self._cache.custom(kinds.PARTICIPANT, namespace, name)
        content: Mapping[str, Any] | None = view.spec if view is not None else None
        known: Mapping[str, Any] = view.status if view is not None else {}
        if view is None:
            try:
                raw = await self._door.get(kinds.PARTICIPANT, namespace, name)
            except errors.Denied:
                return Lookup(denied=True)
            content = raw.get("spec") if raw is not None else None
            known = (raw.get("status") or {}) if raw is not None else {}
        if content is None:
            return Lookup()
        spec, error = parse_model(ParticipantSpec, content)
        return Lookup(found=spec, invalid=error, identity=known.get("identity"))

    async def _claims(self, namespace: str, spec: FederatedJobSpec) -> dict[tuple[str, str], bool | None]:
        wanted = {(namespace, spec.output.claim_name)} if spec.output.claim_name is not None else set()
        for member in spec.participants:
            reference = member.participant_ref
            view = self._cache.custom(kinds.PARTICIPANT, reference.namespace, reference.name)
            found, _ = parse_model(ParticipantSpec, view.spec) if view is not None else (None, "")
            dataset = found.dataset(member.dataset) if found is not None else None
            # What the owner does not allow is not looked at.
            if dataset is not None and found is not None and namespace in found.policy.namespaces:
                wanted.add((reference.namespace, dataset.source.persistent_volume_claim.claim_name))
                if found.models is not None and spec.privacy is not None and spec.encryption is not None:
                    wanted.add((reference.namespace, found.models.claim_name))
        return {each: await self._claim(*each) for each in sorted(wanted)}

    async def _claim(self, namespace: str, name: str) -> bool | None:
        try:
            return await self._door.get(kinds.CLAIM, namespace, name) is not None
        except errors.Denied:
            return None

    async def _left(self, meta: Meta, spec: FederatedJobSpec | None, status: FederatedJobStatus) -> frozenset[str]:
        """Who had a Participation that is gone: only a live GET that finds none, or another one, says so."""
        gone = set()
        for member in spec.participants if spec is not None else ():
            uid = status.participations.get(member.name)
            if uid is None:
                continue
            namespace = member.participant_ref.namespace
            name = names.participation_name(meta.name, member.name, meta.uid)
            known = self._gone.get(meta.uid, set())
            if uid in known or not await self._is_there(namespace, name, uid):
                self._gone[meta.uid] = {*known, uid}
                gone.add(member.name)
        return frozenset(gone)

    async def _is_there(self, namespace: str, name: str, uid: str) -> bool:
        view = self._cache.custom(kinds.PARTICIPATION, namespace, name)
        if view is not None and view.meta.uid == uid:
            return True
        try:
            raw = await self._door.get(kinds.PARTICIPATION, namespace, name)
        except errors.Denied:
            return True  # a Role that was taken away is no farewell
        return raw is not None and parse_meta(raw).uid == uid

    async def _authority(self, job_uid: str, server_job: JobView | None) -> str | None:
        """Live while certificates have to be signed: what was once read may be gone."""
        known = self._authorities.get(job_uid)
        if known is not None and server_job is not None:
            return known
        raw = await self._door.get(kinds.SECRET, self._defaults.operator_namespace, names.ca_secret_name(job_uid))
        if raw is None:
            self._authorities.pop(job_uid, None)
            return None
        self._authorities[job_uid] = decode(raw, "tls.crt")
        return self._authorities[job_uid]

    async def _server_tls(self, meta: Meta, server_job: JobView | None) -> datetime | None:
        if server_job is None or not _waits(server_job):
            return None
        raw = await self._door.get(kinds.SECRET, meta.namespace, names.server_tls_name(meta.name))
        return expiry(raw) if raw is not None else None

    async def participation(self, view: Custom, problem: Problem | None) -> ObservedParticipation | None:
        """Everything about a Participation; None when its spec is not one of ours."""
        spec, _ = parse_model(ParticipationSpec, view.spec)
        if spec is None:
            return None
        meta = view.meta
        client_job = _owned(self._cache.job(meta.namespace, names.client_name(meta.name)), meta)
        population = spec.plan.population
        return ObservedParticipation(
            meta=meta,
            spec=spec,
            status=parse_status(ParticipationStatus, view.status),
            participant=await self.lookup(meta.namespace, spec.participant_ref.name),
            # A Job that has been let run has read it.
            identity=await self._identity(meta) if not spec.suspend and _waits(client_job) else None,
            client_job=client_job,
            pods=tuple(
                pod
                for pod in self._cache.pods_of(kinds.POD, spec.job_ref.uid, meta.namespace)
                if pod.meta.labels.get(names.LABEL_PARTICIPANT) == spec.plan.participant
                and pod.meta.labels.get(names.LABEL_ROLE) == names.ROLE_CLIENT
            ),
            rounds_contributed=self._contributed(spec),
            server_lost_seconds=self._defaults.server_lost_seconds,
            problem=problem,
            budget=await self._budgets.lookup(meta.namespace, population) if population is not None else None,
        )

    async def _identity(self, meta: Meta) -> Identity | None:
        raw = await self._door.get(kinds.SECRET, meta.namespace, names.client_name(meta.name))
        if raw is None or parse_meta(raw).owner_uid != meta.uid:
            return None
        annotations = raw["metadata"].get("annotations") or {}
        return Identity(
            public_key=public_key_of(decode(raw, "node.key")),
            generation=int(annotations.get(ANNOTATION_GENERATION, "0")),
            expires=expiry(raw),
        )

    def _contributed(self, spec: ParticipationSpec) -> int:
        job = self._cache.custom(kinds.FEDERATED_JOB, spec.job_ref.namespace, spec.job_ref.name)
        if job is None or job.meta.uid != spec.job_ref.uid:
            return 0
        status = parse_status(FederatedJobStatus, job.status)
        return next((p.rounds_contributed for p in status.participants if p.name == spec.plan.participant), 0)

    async def participant(self, view: Custom) -> ObservedParticipant:
        """Everything about a Participant."""
        spec, error = parse_model(ParticipantSpec, view.spec)
        wanted = {d.source.persistent_volume_claim.claim_name for d in spec.datasets} if spec is not None else set()
        signs = self._signs(view, spec)
        return ObservedParticipant(
            meta=view.meta,
            spec=spec,
            spec_error=error,
            status=parse_status(ParticipantStatus, view.status),
            claims={name: await self._claim(view.meta.namespace, name) for name in sorted(wanted)},
            identity=await self._budgets.owner_identity(view.meta.namespace) if signs else None,
            signs=signs,
        )

    def _signs(self, view: Custom, spec: ParticipantSpec | None) -> bool:
        """Whether gates sign for a Participant: from its first private dataset, or its first encrypted job, on."""
        if spec is None:
            return False
        if "identity" in view.status or any(d.population is not None for d in spec.datasets):
            return True
        here = Key(kinds.PARTICIPANT.kind, view.meta.namespace, view.meta.name)
        jobs = (j for j in self._cache.customs(kinds.FEDERATED_JOB) if j.meta.namespace in spec.policy.namespaces)
        return any(here in signers(job) for job in jobs)


def _owned(job: JobView | None, owner: Meta) -> JobView | None:
    """A Job of that name may still be an earlier owner's, on its way out."""
    return job if job is not None and job.meta.owner_uid == owner.uid else None


def _waits(job: JobView | None) -> bool:
    return job is None or (job.suspended and not job.finished)
