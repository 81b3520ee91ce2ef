"""The children of a running job: Participations in their owners' namespaces, then the server pod and what it mounts."""

from datetime import datetime, timedelta

from hanse.api import names
from hanse.api.conditions import Reason
from hanse.api.job import FederatedJobSpec, JobParticipant
from hanse.api.participation import JobRef, LocalParticipantRef, ParticipationSpec
from hanse.api.planhash import canonical_hash
from hanse.api.runconfig import ProgressTarget, RunConfig, ServerParticipant
from hanse.controller.manifests import client, server, server_objects
from hanse.controller.reconcile import authority, leaves
from hanse.controller.reconcile.asked import participation_plan
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.members import Member
from hanse.controller.reconcile.model import Apply, Create, EnsureServerTls, SetSuspend
from hanse.controller.views import JobView

#: A Job without a pod for so long was refused one (quota, Pod Security): the reason is in the Job's events.
POD_PATIENCE = timedelta(seconds=10)
FIRST_POD = timedelta(seconds=60)


def ensure(draft: Draft, spec: FederatedJobSpec, members: list[Member]) -> None:
    """Ask for what is missing. Everything that exists is left as it is: its builder may be newer than it."""
    observed = draft.observed
    if authority.ensure(draft) is None:
        return
    by_name = {m.name: m for m in members}
    for index, member in enumerate(spec.participants):
        view = observed.participations.get(member.name)
        if view is not None and view.spec.suspend and not view.meta.deleting:
            draft.actions.append(SetSuspend(view.meta.namespace, view.meta.name, False))
        elif view is None and not by_name[member.name].lost and member.name not in observed.status.participations:
            draft.actions.append(Create(_participation(draft, spec, member, index)))
    if observed.server_job is None:
        _server(draft, spec, by_name)
    elif observed.server_job.suspended:
        life = leaves.server_life(spec.active_deadline_seconds)
        if leaves.is_stale(observed.server_tls_expires, life, draft.now):
            draft.actions.append(EnsureServerTls(observed.meta, spec.active_deadline_seconds))
        draft.wake(leaves.LOOK_SECONDS)


def _participation(draft: Draft, spec: FederatedJobSpec, member: JobParticipant, index: int) -> dict[str, object]:
    observed = draft.observed
    meta, images = observed.meta, observed.status.images
    assert images is not None  # frozen with startTime
    assert observed.ca_certificate is not None
    plan = participation_plan(meta, spec, member, index, images, observed.status.privacy)
    made = ParticipationSpec(
        job_ref=JobRef(namespace=meta.namespace, name=meta.name, uid=meta.uid),
        participant_ref=LocalParticipantRef(name=member.participant_ref.name),
        plan=plan.model_copy(update={"ca_certificate": observed.ca_certificate}),
        plan_hash=canonical_hash(plan.to_wire()),
    )
    name = names.participation_name(meta.name, member.name, meta.uid)
    return client.build_participation(name, member.participant_ref.namespace, made)


def _server(draft: Draft, spec: FederatedJobSpec, members: dict[str, Member]) -> None:
    observed = draft.observed
    if any(not pod.ended for pod in observed.server_pods):
        draft.wake(1)  # two launchers must never share the state volume
        return
    registered = _registered(draft, spec)
    missing = [m for m in spec.participants if m.name not in registered and not members[m.name].lost]
    if missing and not (_late(draft, spec) and len(registered) >= spec.effective_quorum):
        draft.wake(5)
        return
    images, meta = observed.status.images, observed.meta
    assert images is not None  # frozen with startTime
    draft.actions += [
        # First what may still be there of an earlier job of this name.
        Create(server_objects.build_state_claim(meta, spec)),
        Create(server_objects.build_service(meta)),
        EnsureServerTls(meta, spec.active_deadline_seconds),
        Apply(server_objects.build_operator_ca(meta, observed.operator_ca)),
        Apply(server_objects.build_run_config(meta, run_config(draft, spec, list(registered.values())))),
        Create(server.build_server_job(meta, spec, images)),
    ]


def _registered(draft: Draft, spec: FederatedJobSpec) -> dict[str, ServerParticipant]:
    found = {}
    for index, member in enumerate(spec.participants):
        view = draft.observed.participations.get(member.name)
        if view is not None and view.status.public_key is not None:
            plan = view.spec.plan
            found[member.name] = ServerParticipant(
                name=member.name,
                index=index,
                public_key=view.status.public_key,
                records=plan.records,
                expected_batch=plan.privacy.expected_batch if plan.privacy is not None else None,
                plan_hash=view.spec.plan_hash,
            )
    return found


def _late(draft: Draft, spec: FederatedJobSpec) -> bool:
    """An owner's namespace that stays closed must not keep a quorum from starting."""
    since = draft.observed.status.active_since
    return since is not None and (draft.now - since).total_seconds() > spec.start_timeout_seconds / 2


def run_config(draft: Draft, spec: FederatedJobSpec, participants: list[ServerParticipant]) -> RunConfig:
    """run.json."""
    meta = draft.observed.meta
    claim = spec.output.claim_name
    path = server_objects.MODEL_FILE if claim is None else f"{meta.name}/{server_objects.MODEL_FILE}"
    config = RunConfig.from_spec(
        spec, JobRef(namespace=meta.namespace, name=meta.name, uid=meta.uid), participants, output_path=path
    )
    url = f"{draft.observed.defaults.progress_base}/v1/jobs/{meta.namespace}/{meta.name}/progress"
    privacy = draft.observed.status.privacy
    plans = {"privacy": privacy.plan, "encryption": privacy.encryption_plan} if privacy is not None else {}
    return config.model_copy(update={"progress": ProgressTarget(url=url), **plans})


def pod_is_late(job: JobView, now: datetime, reason: str) -> bool:
    """Whether a Job should have had its first pod by now; `reason` is the one that was shown last.

    Later on a Job may be without a pod for minutes: its controller backs off before it replaces one that has ended.
    """
    since = job.start_time or job.meta.created
    if job.suspended or job.finished or job.active or job.failures or since is None:
        return False
    age = now - since
    return age > POD_PATIENCE and (age < FIRST_POD or reason == Reason.POD_REFUSED)


def late_hint(job: JobView) -> str:
    """Where the reason is."""
    return f"Job {job.meta.name} got no pod: kubectl -n {job.meta.namespace} describe job {job.meta.name}"
