"""Who holds the key of an encrypted job: the condition KeysReady and status.privacy, from what the server tells.

The server is told fingerprints and names, signed by the gates; the key itself is known to gates alone.
"""

from typing import Final

from hanse.api.conditions import JobCondition, Reason
from hanse.api.job import JobPrivacy
from hanse.api.progress import EncryptionProgress, Progress
from hanse.controller.reconcile.draft import Draft

#: Of a fingerprint, for people: the whole one is in status.privacy.
_SHORT: Final = len("sha256:") + 12


def enrich(draft: Draft, progress: Progress | None) -> None:
    """Fill them in."""
    privacy: JobPrivacy | None = draft.values.get("privacy", draft.observed.status.privacy)
    if privacy is None or privacy.encryption_plan is None:
        text = "updates are not encrypted: set spec.privacy.encryption"
        draft.conditions.set(JobCondition.KEYS_READY, "True", Reason.NOT_ENCRYPTED, text)
        return
    told = progress.encryption if progress is not None else None
    if told is not None:
        privacy = _with(privacy, told)
        draft.values["privacy"] = privacy
    _condition(draft, privacy)


def _with(privacy: JobPrivacy, told: EncryptionProgress) -> JobPrivacy:
    """A progress that was cut to fit does not say who the holders are: those that are known stay."""
    same = told.fingerprint == (privacy.key_fingerprint or "")
    known = privacy.key_holders if same else []
    holders = known if told.holders is None else sorted(told.holders)
    update = {"key_fingerprint": told.fingerprint or None, "key_holders": holders}
    return privacy.model_copy(update=update)


def _condition(draft: Draft, privacy: JobPrivacy) -> None:
    plan, held = privacy.encryption_plan, len(privacy.key_holders)
    assert plan is not None  # else nothing is encrypted
    if privacy.key_fingerprint is not None and held >= plan.quorum:
        text = f"{plan.scheme} key {privacy.key_fingerprint[:_SHORT]} of {plan.key_maker}, held by {held} gates"
        draft.conditions.set(JobCondition.KEYS_READY, "True", Reason.KEYS_HELD, text)
        return
    if privacy.key_fingerprint is None:
        text = f"the gate of {plan.key_maker} has not made the key yet"
    else:
        text = f"{held} of {len(plan.roster)} gates hold the key, quorum {plan.quorum}"
    draft.conditions.set(JobCondition.KEYS_READY, "False", Reason.WAITING_FOR_KEYS, text)
