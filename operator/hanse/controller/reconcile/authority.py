"""The job's CA: made once, before the first Participation. Clients trust it alone, for the job's whole life."""

from hanse.api import names
from hanse.api.conditions import Reason
from hanse.controller.reconcile.draft import Draft
from hanse.controller.reconcile.model import EnsureAuthority


def ensure(draft: Draft) -> str | None:
    """The CA certificate, None while it is made or when it is lost.

    A new one would be of no use: the certificate is part of what each owner agreed to (`Participation.spec.plan`).
    A server that runs needs no CA any more; one that has to start fails the job.
    """
    observed = draft.observed
    trusted = {view.spec.plan.ca_certificate for view in observed.participations.values()}
    if observed.ca_certificate is None and not observed.status.participations and not trusted:
        draft.actions.append(EnsureAuthority(observed.meta))
        draft.wake(0)
        return None
    if observed.ca_certificate is not None and trusted <= {observed.ca_certificate}:
        return observed.ca_certificate
    if observed.server_job is None:
        draft.fail(Reason.AUTHORITY_LOST, lost_hint(observed.defaults.operator_namespace, observed.meta.uid))
    return None


def lost_hint(namespace: str, job_uid: str) -> str:
    """What has happened and what to do."""
    return (
        f"the job's CA, Secret {namespace}/{names.ca_secret_name(job_uid)}, is gone or was replaced, "
        "and its clients trust no other: delete the job and create it anew"
    )
