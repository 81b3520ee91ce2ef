"""The volume provisioner of a local cluster: a directory of the host for each claim of our StorageClass.

Run as a daemon by `local.init`: `python -m e2e.cluster.local.provisioner KUBECONFIG DIRECTORY`; standard
library only. It follows the protocol of external provisioners: the controller manager binds what is made here,
and a volume whose claim went away comes back as Released. Sizes are not enforced.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import time
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.kubeapi import ApiError, Json, KubeApi

PROVISIONER = "hanse.dev/hostpath"
STORAGE_CLASS = "standard"
_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
_BY = "pv.kubernetes.io/provisioned-by"


def wanted(claim: Json) -> bool:
    """Whether a claim waits for us."""
    spec, status = claim["spec"], claim.get("status", {})
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and status.get("phase") == "Pending"
        and "deletionTimestamp" not in claim["metadata"]
    )


def volume_for(claim: Json, directory: Path) -> Json:
    """The volume for a claim; its name is a function of the claim, so making it twice is harmless."""
    meta, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{meta['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "hostPath": {"path": str(directory / name), "type": "Directory"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        },
    }


def removable(volume: Json) -> bool:
    """Whether a volume is ours and its claim is gone."""
    ours: bool = volume["metadata"].get("annotations", {}).get(_BY) == PROVISIONER
    phase = volume.get("status", {}).get("phase")
    return ours and phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"


def provision(api: KubeApi, claim: Json, directory: Path) -> None:
    """Make the directory, then the volume."""
    volume = volume_for(claim, directory)
    path = Path(volume["spec"]["hostPath"]["path"])
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)  # pods run as many users, and hostPath ignores fsGroup
    try:
        api.create(_VOLUMES, volume)
    except ApiError as error:
        if error.code != 409:
            raise
    print(f"provisioned {path.name} for {claim['metadata']['namespace']}/{claim['metadata']['name']}", flush=True)


def reclaim(api: KubeApi, volume: Json, directory: Path) -> None:
    """Remove the directory, then the volume."""
    name = volume["metadata"]["name"]
    path = Path(volume["spec"]["hostPath"]["path"])
    if path.parent == directory:
        shutil.rmtree(path, ignore_errors=True)
    api.delete(f"{_VOLUMES}/{name}")
    print(f"removed {name}", flush=True)


def settle(api: KubeApi, directory: Path) -> str:
    """Bring everything up to date; returns the claims' resource version to watch from."""
    claims = api.get(_CLAIMS)
    for claim in claims["items"]:
        if wanted(claim):
            provision(api, claim, directory)
    for volume in api.get(_VOLUMES)["items"]:
        if removable(volume):
            reclaim(api, volume, directory)
    return str(claims["metadata"]["resourceVersion"])


def main() -> None:
    """Settle, wait for a claim to change, settle again; for ever."""
    api, directory = KubeApi(Path(sys.argv[1])), Path(sys.argv[2])
    while True:
        try:
            version = settle(api, directory)
            # Volumes are not watched: a Released one follows its claim's deletion, and a short watch sees to it.
            for event in api.events(_CLAIMS, version, seconds=5):
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    if event["type"] == "DELETED":
                        time.sleep(0.5)  # the controller manager marks the volume a moment later
                    break
        except (OSError, http.client.HTTPException, ClusterError, ValueError) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
