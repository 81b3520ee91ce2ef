"""Client pods of an encrypted job: identities, one plan, first models made by each. For tests and benchmarks."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from hanse.api.encryption import EncryptingScheme, EncryptionPlan, RosterMember
from hanse.pki.identity import new_identity
from tests.contract.runtime.gate.pod import ClientPod
from tests.contract.runtime.server.rig import Rig


def encrypted_pods(
    rig: Rig,
    settings: Sequence[dict[str, Any]],
    scales: Sequence[float],
    *,
    scheme: EncryptingScheme = "BFV",
    reach: float = 1.0,
) -> list[ClientPod]:
    """One pod for each of `settings` (fields of ClientConfig), before it starts; the rig's server knows the plan too.

    `scales`: each participant's factor and mass. Quorum and rounds are the rig's; the model goes to nobody.
    """
    identities = [new_identity() for _ in settings]
    plan = EncryptionPlan(
        scheme=scheme,
        key_maker="p0",
        quorum=rig.config.quorum,
        rounds=rig.config.rounds,
        model_release="Never",
        range=str(reach),
        terms=ClientPod(rig, 0, settings[0]).config.common_terms(),
        roster=[
            RosterMember(name=f"p{i}", identity=one.public, scale=f"{scale:.6f}", mass=f"{scale:.6f}")
            for i, (one, scale) in enumerate(zip(identities, scales, strict=True))
        ],
    )
    pods = [ClientPod(rig, i, {**one, "encryption": plan}) for i, one in enumerate(settings)]
    for pod, identity in zip(pods, identities, strict=True):
        pod.paths.identity_key.parent.mkdir(parents=True, exist_ok=True)
        pod.paths.identity_key.write_text(identity.private)
        _make_first_model(pod)
    rig.write_config(rig.config.model_copy(update={"encryption": plan}))
    return pods


def _make_first_model(pod: ClientPod) -> None:
    """As the pod's init container does."""
    pod.paths.check_config.write_text(pod.config.check().model_dump_json(by_alias=True, exclude_none=True))
    subprocess.run([sys.executable, "-m", "hanse.runtime.trainer", "check", "--root", str(pod.paths.root)], check=True)
