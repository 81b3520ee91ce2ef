"""A hostile ClientApp, one attack in a round: it is stopped and named by its code, and the others' rounds go on."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.contract.privacy.apps.hostile import SECRET, SIZE
from tests.contract.privacy.workspace import Workspace

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

#: Refused by the gate, with the reason that the round shows.
REFUSED = {
    "nan": "NonFiniteUpdate",
    "infinity": "NonFiniteUpdate",
    "shape": "UpdateMismatch",
    "dtype": "UpdateMismatch",
    "extra": "UpdateMismatch",
    "second-record": "NotAllowedInReply",
    "metric-name": "NotAllowedInReply",
    "metric-value": "NotAllowedInReply",
    "config": "NotAllowedInReply",
    "size": "NotAllowedInReply",
}
#: Stopped without a refusal: what would say something is not in what leaves.
SILENCED = ["hidden-metric", "low-bits", "large", "twice", "dial"]


def rounds(workspace: Workspace) -> list[dict]:
    """Records of the rounds, oldest first."""
    progress = json.loads((workspace.kept / "server/run/hanse/progress.json").read_text())
    return list(reversed(progress["rounds"]))


def test_every_refused_attack_is_named_and_the_others_go_on(workspace: Workspace) -> None:
    """One run: participant 0 tries another attack in each round."""
    attacks = list(REFUSED)
    config = {"attacks": ",".join(attacks)}
    done = workspace.run(*workspace.manifests(config=config, rounds=len(attacks) + 1, quorum=1), "--keep")
    assert done.returncode == 0, done.stdout
    found = rounds(workspace)
    for number, attack in enumerate(attacks, 1):
        record = found[number - 1]
        assert record["reasons"].get("bank-a") == REFUSED[attack], (attack, record)
        assert record["contributed"] == 1
    assert found[-1]["contributed"] == 2, "the round after the attacks has both"
    assert workspace.charges("a") == [f"Train-{len(attacks) + 1}-1"], "what was refused costs nothing"
    assert len(workspace.charges("b")) == len(attacks) + 1
    assert str(SECRET) not in done.stdout


@pytest.mark.parametrize("attack", SILENCED)
def test_what_is_not_refused_says_nothing(workspace: Workspace, attack: str) -> None:
    done = workspace.run(*workspace.manifests(config={"attack": attack}, rounds=1), "--keep")
    assert done.returncode == 0, done.stdout
    assert rounds(workspace)[0]["contributed"] == 2
    assert workspace.charges("a") == ["Train-1-1"]
    sent = rounds(workspace)[0]["bytes"]
    assert sent == 2 * (4 * (SIZE + 4) + 4), "the size of an update is the plan's alone"
    model = load_file(workspace.path / "out" / "model.safetensors")
    weights = model["layer.weight"]
    # An update is clipped to norm 1 and noised by far more; 1e30 or a loss of 3735928559 would show.
    assert np.abs(weights).max() < 100
    words = weights.astype(np.float32).view(np.uint32)[:32] & 1
    told = int((words.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum())
    assert told != SECRET
