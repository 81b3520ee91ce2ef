"""Next steps that several policies name in the same words."""


def permission_hint(namespace: str) -> str:
    """What to do when a namespace is closed to the operator."""
    return (
        f"the operator has no permission in namespace {namespace}: its owner applies the output of "
        f"`hanse owner-rbac {namespace}`, or add it to participantNamespaces of the Helm chart"
    )
