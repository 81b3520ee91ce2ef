"""Which claims get a volume, which volume they get, and which volumes are removed."""

from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.local import provisioner

CLAIM: dict[str, Any] = {
    "metadata": {"name": "data", "namespace": "bank-a", "uid": "1234"},
    "spec": {
        "storageClassName": "standard",
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
    "status": {"phase": "Pending"},
}


def test_a_pending_claim_of_our_class_is_wanted() -> None:
    assert provisioner.wanted(CLAIM)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {**CLAIM["spec"], "storageClassName": "other"}},
        {"spec": {**CLAIM["spec"], "storageClassName": ""}},
        {"spec": {**CLAIM["spec"], "volumeName": "made-by-hand"}},
        {"status": {"phase": "Bound"}},
        {"metadata": {**CLAIM["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
    ids=["other class", "no class", "volume given", "bound", "deleted"],
)
def test_other_claims_are_not(change: dict[str, Any]) -> None:
    assert not provisioner.wanted({**CLAIM, **change})


def test_a_volume_is_for_one_claim_only(tmp_path: Path) -> None:
    volume = provisioner.volume_for(CLAIM, tmp_path)
    assert volume["metadata"]["name"] == "pvc-1234"
    assert volume["spec"]["claimRef"]["uid"] == "1234"
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volume["spec"]["hostPath"]["path"] == str(tmp_path / "pvc-1234")


@pytest.mark.parametrize(
    ("phase", "policy", "by", "expected"),
    [
        ("Released", "Delete", provisioner.PROVISIONER, True),
        ("Bound", "Delete", provisioner.PROVISIONER, False),
        ("Released", "Retain", provisioner.PROVISIONER, False),
        ("Released", "Delete", "someone.else/hostpath", False),
    ],
)
def test_only_our_released_volumes_are_removed(phase: str, policy: str, by: str, expected: bool) -> None:
    volume = {
        "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": by}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }
    assert provisioner.removable(volume) is expected


def test_a_volume_without_annotations_is_not_ours() -> None:
    volume = {"metadata": {}, "spec": {"persistentVolumeReclaimPolicy": "Delete"}, "status": {"phase": "Released"}}
    assert not provisioner.removable(volume)
