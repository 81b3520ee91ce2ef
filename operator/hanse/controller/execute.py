"""Carries out a plan's actions through the door, each one repeatable. Called by the engine."""

from datetime import timedelta

from hanse.api import names
from hanse.api.participation import ParticipationSpec
from hanse.controller import errors, kinds
from hanse.controller.cache import Cache
from hanse.controller.clock import Clock
from hanse.controller.door import Door
from hanse.controller.execute_budget import BudgetExecutor
from hanse.controller.manifests import client, server_objects
from hanse.controller.parse import decode
from hanse.controller.reconcile import authority, leaves
from hanse.controller.reconcile.model import (
    Action,
    Apply,
    Create,
    Delete,
    EnsureAuthority,
    EnsureIdentity,
    EnsureOwnerIdentity,
    EnsureServerTls,
    Manifest,
    Reserve,
    ReturnReservation,
    SetSuspend,
)
from hanse.controller.views import Meta, parse_meta
from hanse.pki import certificates, nodekeys
from hanse.pki.certificates import Pair

#: Kinds whose answers the cache keeps, so that the next visit sees what this one did.
_CACHED = frozenset(kind.kind for kind in kinds.WATCHED)


class Executor:
    """Acts for one operator process."""

    def __init__(self, door: Door, cache: Cache, clock: Clock, operator_namespace: str) -> None:
        self._door = door
        self._cache = cache
        self._clock = clock
        self._namespace = operator_namespace
        self._budgets = BudgetExecutor(door, cache, clock, operator_namespace)

    async def run(self, action: Action) -> None:
        """Do it. Every error is the caller's: the next visit tries again."""
        match action:
            case EnsureAuthority(job):
                await self._authority(job)
            case EnsureServerTls(job, active_seconds):
                await self._server_tls(job, active_seconds)
            case EnsureIdentity():
                await self._identity(action)
            case EnsureOwnerIdentity():
                await self._budgets.owner_identity(action)
            case Reserve():
                await self._budgets.reserve(action)
            case ReturnReservation():
                await self._budgets.give_back(action)
            case Apply(manifest):
                self._keep(await self._door.apply(manifest))
            case Create(manifest):
                self._keep(await self._create(manifest))
            case Delete(kind, namespace, name):
                await self._door.delete(kinds.BY_NAME[kind], namespace, name)
            case SetSuspend(namespace, name, suspend):
                patch = {"spec": {"suspend": suspend}}
                self._keep(await self._door.merge(kinds.PARTICIPATION, namespace, name, patch))

    def _keep(self, answer: dict[str, object] | None) -> None:
        if answer is not None and answer.get("kind") in _CACHED:
            self._cache.put(answer)

    async def _create(self, manifest: Manifest) -> Manifest | None:
        """What is there afterwards: the cache may have missed it, and would ask for it again and again."""
        kind, meta = kinds.BY_NAME[manifest["kind"]], parse_meta(manifest)
        made = await self._door.create(manifest)
        found = made or await self._door.get(kind, meta.namespace, meta.name)
        where = f"{kind.kind} {meta.namespace}/{meta.name}"
        text = ""
        if found is None or parse_meta(found).deleting:
            text = f"{where} of an earlier job is on its way out"
        elif parse_meta(found).owner_uid != meta.owner_uid:
            text = f"{where} is there already and is not this job's: delete it, or give the job another name"
        if text:
            raise errors.Taken(text, kind=kind.kind, namespace=meta.namespace, name=meta.name)
        return found

    async def _authority(self, job: Meta) -> None:
        """Index entry first: a CA Secret without one would never be swept."""
        await self._door.apply(server_objects.build_ca_index(job, self._namespace))
        pair = certificates.new_authority(f"hanse job {job.uid}", self._clock.now())
        secret = server_objects.build_ca_secret(job, self._namespace, certificate=pair.certificate, key=pair.key)
        await self._door.create(secret)

    async def _load_authority(self, job_uid: str, of: Meta, trusted: str = "") -> Pair:
        name = names.ca_secret_name(job_uid)
        raw = await self._door.get(kinds.SECRET, self._namespace, name)
        pair = Pair(certificate=decode(raw, "tls.crt"), key=decode(raw, "tls.key")) if raw is not None else None
        if pair is None or (trusted and pair.certificate != trusted):
            text = authority.lost_hint(self._namespace, job_uid)
            raise errors.AuthorityLost(text, kind="Secret", namespace=of.namespace, name=name)
        return pair

    async def _server_tls(self, job: Meta, active_seconds: int | None) -> None:
        signer = await self._load_authority(job.uid, job)
        host = names.server_host(job.name, job.namespace)
        # gates use the host; front, SuperLink and launcher reach each other over loopback
        sans = (host, f"{host}.cluster.local", names.server_name(job.name), "localhost", "127.0.0.1")
        days = leaves.server_life(active_seconds) / timedelta(days=1)
        pair = certificates.issue(signer, host, self._clock.now(), sans=sans, usage=certificates.SERVER, days=days)
        await self._door.apply(
            server_objects.build_server_tls(job, ca=signer.certificate, certificate=pair.certificate, key=pair.key)
        )

    async def _identity(self, action: EnsureIdentity) -> None:
        """The SuperNode key stays the same for the job's life: it is what the server knows the participant by."""
        meta, spec = action.participation, action.spec
        await self._check_asked(meta, spec)
        signer = await self._load_authority(spec.job_ref.uid, meta, spec.plan.ca_certificate)
        raw = await self._door.get(kinds.SECRET, meta.namespace, names.client_name(meta.name))
        node_key = decode(raw, "node.key") if raw is not None else ""
        san = f"{spec.plan.participant}.{spec.job_ref.name}.{spec.job_ref.namespace}.participant.hanse.dev"
        pair = certificates.issue(
            signer,
            spec.plan.participant,
            self._clock.now(),
            sans=(san,),
            usage=certificates.CLIENT,
            days=leaves.client_life(spec.plan.active_deadline_seconds) / timedelta(days=1),
        )
        secret = client.build_client_secret(
            meta,
            spec,
            certificate=pair.certificate,
            key=pair.key,
            node_key=node_key or nodekeys.new_node_key().private,
        )
        await self._door.apply(secret)

    async def _check_asked(self, meta: Meta, spec: ParticipationSpec) -> None:
        """Anybody who may write Participations can name any job: the job itself says whom it asks."""
        reference, plan = spec.job_ref, spec.plan
        raw = await self._door.get(kinds.FEDERATED_JOB, reference.namespace, reference.name)
        if raw is not None and parse_meta(raw).uid == reference.uid:
            wanted = {"namespace": meta.namespace, "name": spec.participant_ref.name}
            members = (raw.get("spec") or {}).get("participants") or []
            if any(m.get("name") == plan.participant and m.get("participantRef") == wanted for m in members):
                return
        text = f"FederatedJob {reference.namespace}/{reference.name} ({reference.uid}) does not list {plan.participant}"
        raise errors.NotAsked(f"{text} with this Participant", kind=meta.kind, namespace=meta.namespace, name=meta.name)
