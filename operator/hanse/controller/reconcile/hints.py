"""Next steps that several policies name in the same words."""

from collections.abc import Mapping
from typing import Final

from hanse.api.conditions import Reason

#: Of a failed job whose server cannot know what a person may do about it.
NEXT_STEPS: Final[Mapping[str, str]] = {
    Reason.KEY_LOST: "no gate holds the key any more, nobody can go on: delete the job and create it anew",
    Reason.MODEL_MISMATCH: "gates disagree on the model: compare their images and apps, then create the job anew",
    Reason.MODEL_NOT_RELEASED: "every contributor must sign the release: ask those who did not, and create it anew",
}


def permission_hint(namespace: str) -> str:
    """What to do when a namespace is closed to the operator."""
    return (
        f"the operator has no permission in namespace {namespace}: its owner applies the output of "
        f"`hanse owner-rbac {namespace}`, or add it to participantNamespaces of the Helm chart"
    )
