"""What `scripts/demo private` shows beside the plain example: epsilon by adversary, and an owner's certificate."""

from __future__ import annotations

from pathlib import Path

from e2e.harness.kube import Kube, Object
from hanse.api.names import CERTIFICATE_KEY, ROLE_CERTIFICATE

#: In plain words: whom an epsilon is against.
WHO = {
    "Outsiders": "who has the model alone",
    "OneParticipant": "another bank, which knows its own part",
    "CollusionThreshold": "as many banks together as collusionThreshold says",
    "ServerAndOne": "the server and a bank together",
}


def print_epsilons(job: Object) -> None:
    """status.privacy.epsilon as a table, with unit and delta."""
    privacy = job["status"]["privacy"]
    print(f"    encryption {privacy['encryption']}, key of {privacy['keyMaker']}, {privacy['keyFingerprint'][:19]}")
    print(f"    epsilon of one {privacy['unit'].lower()} at delta {privacy['delta']}, the whole job with its metrics:")
    for row in privacy["epsilon"]:
        print(f"      {row['spent']:>7}  against {WHO[row['adversary']]} ({row['adversary']})")
    print()


def fetch_certificate(kube: Kube, job: str, owner: str, directory: Path) -> tuple[Path, Path]:
    """The newest certificate of an owner for a job, and the owner's public key, as files in `directory`."""
    directory.mkdir(exist_ok=True)
    found = kube.list("configmaps", owner, f"hanse.dev/role={ROLE_CERTIFICATE},hanse.dev/job={job}")
    newest = max(found, key=lambda m: str(m["metadata"]["creationTimestamp"]))
    certificate, key = directory / f"{owner}-certificate.json", directory / f"{owner}.pem"
    certificate.write_text(newest["data"][CERTIFICATE_KEY])
    key.write_text(kube.get("participant", owner, owner)["status"]["identity"])
    return certificate, key
