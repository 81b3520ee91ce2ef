"""Encrypted jobs' other terms on a cluster: CKKS, colluders, and whose volume the model is in at the end."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.harness import objects
from e2e.harness.federation import Federation, completed
from e2e.harness.install import Image
from e2e.harness.kube import Kube, Object, condition, wait_until
from e2e.harness.objects import COORDINATOR
from e2e.harness.private import Populations, populations
from e2e.harness.session import OTHERS, OWNERS
from hanse.api import names
from hanse.runtime.aggregation.model import arrays_digest, read_model

#: A fourth owner: the smallest number of gates that can verify halves apart where one may collude.
FOUR = [*OWNERS, OTHERS[0]]
ROUNDS = 2
EQUAL: Object = {"weights": "Equal"}
#: Prints every file of /claim as JSON: path below it -> content in base64.
READ = """
import base64, json, pathlib
files = (path for path in pathlib.Path("/claim").rglob("*") if path.is_file())
print(json.dumps({str(path.relative_to("/claim")): base64.b64encode(path.read_bytes()).decode() for path in files}))
"""


@dataclass(frozen=True)
class Volumes:
    """Participants with a claim for models, on the data of the session's other Participants."""

    kube: Kube
    image: str
    participant: str
    models: str

    def make(self) -> None:
        """In each of OWNERS."""
        datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
        for owner in OWNERS:
            made = objects.participant(self.participant, datasets, namespace=owner)
            made["spec"]["models"] = {"claimName": self.models}
            self.kube.apply(objects.claim(self.models, owner), made)

    def members(self) -> list[Object]:
        """For spec.participants."""
        refs = ({"namespace": owner, "name": self.participant} for owner in OWNERS)
        return [{"name": ref["namespace"], "participantRef": ref, "dataset": "numbers"} for ref in refs]

    def remove(self) -> None:
        """All of it."""
        for owner in OWNERS:
            self.kube.delete("participant", self.participant, owner)
            self.kube.delete("persistentvolumeclaim", self.models, owner, wait=False)


@dataclass(frozen=True)
class Reader:
    """A pod that has a claim at /claim."""

    kube: Kube
    namespace: str
    pod: str

    def run(self, *command: str) -> str:
        """What a command prints."""
        wait_until(f"{self.namespace}/{self.pod} runs", self._runs, timeout=90)
        return self.kube.exec(self.pod, self.namespace, "reader", *command)

    def files(self) -> dict[str, bytes]:
        """Content by path."""
        found: dict[str, str] = json.loads(self.run("python3", "-c", READ))
        return {path: base64.b64decode(content) for path, content in found.items()}

    def _runs(self) -> bool:
        phase: str = self.kube.get("pod", self.pod, self.namespace)["status"]["phase"]
        return phase == "Running"


@pytest.fixture(scope="module")
def volumes(installed: Kube, images: dict[str, Image]) -> Iterator[Volumes]:
    """Three owners who want the model themselves."""
    suffix = uuid.uuid4().hex[:5]
    made = Volumes(installed, images["trainer-cpu"].ref, f"models-{suffix}", f"models-{suffix}")
    made.make()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def people(
    installed: Kube, images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Populations]:
    """Four owners with a budget."""
    scratch = tmp_path_factory.mktemp("people")
    made = populations(installed, FOUR, {"colluders": "40.0"}, images["trainer-cpu"].ref, scratch)
    yield made
    made.remove()


@contextmanager
def opened(volumes: Volumes, claims: Sequence[tuple[str, str]]) -> Iterator[list[Reader]]:
    """Look into claims (namespace, name) as their owners can; a pod of each that is gone afterwards."""
    readers = [Reader(volumes.kube, namespace, f"read-{claim}") for namespace, claim in claims]
    for reader, (namespace, claim) in zip(readers, claims, strict=True):
        volumes.kube.apply(objects.reader_pod(reader.pod, namespace, claim, volumes.image))
    try:
        yield readers
    finally:
        for reader in readers:
            volumes.kube.delete("pod", reader.pod, reader.namespace)


def holders(files: dict[str, dict[str, bytes]], job: Object, directory: Path) -> dict[str, str]:
    """Where the job's model lies in plain, whatever it is called: namespace -> path; by the digest in its status."""
    (newest, *_) = job["status"]["rounds"]
    found = {}
    for namespace, contents in files.items():
        for path, content in contents.items():
            if path.endswith(".safetensors"):
                local = directory / "found.safetensors"
                local.write_bytes(content)
                if arrays_digest(read_model(local)[0]) == newest["modelDigest"]:
                    found[namespace] = path
    return found


def holding(model: bytes, files: dict[str, bytes]) -> list[str]:
    """Files with the numbers of a model file in them, whatever their own format."""
    numbers = model[8 + int.from_bytes(model[:8], "little") :]
    return [path for path, content in files.items() if numbers in content]


def test_the_model_goes_where_the_job_says(federation: Federation, volumes: Volumes, name: str, tmp_path: Path) -> None:
    """Three jobs at once: to the coordinator alone (under CKKS), to each owner's volume, to nobody."""
    asked = {"Coordinator": "CKKS", "Participants": "BFV", "Never": "BFV"}
    for size, (release, scheme) in enumerate(asked.items(), start=64):
        federation.submit(
            f"{name}-{release.lower()}",
            [],
            participants=volumes.members(),
            rounds=ROUNDS,
            # Models of different sizes: what is one job's cannot be taken for another's.
            app={"config": {"size": str(size)}},
            aggregation=EQUAL,
            privacy={"encryption": {"scheme": scheme}, "modelRelease": release},
        )
    jobs = {release: federation.wait(f"{name}-{release.lower()}", "Complete", timeout=300) for release in asked}
    for release, job in jobs.items():
        privacy = job["status"]["privacy"]
        assert (privacy["encryption"], privacy["modelRelease"]) == (asked[release], release)
        assert privacy["keyHolders"] == OWNERS
        assert completed(job) == ROUNDS
        assert ("model" in job["status"]) == (release == "Coordinator")
    said = {release: condition(job, "Complete")["message"] for release, job in jobs.items()}
    assert "the participants have the model" in said["Participants"]
    assert "nobody has the model" in said["Never"]
    assert "model" not in said["Coordinator"]

    states = {release: names.state_claim_name(job["metadata"]["name"]) for release, job in jobs.items()}
    places = [*((COORDINATOR, claim) for claim in states.values()), *((owner, volumes.models) for owner in OWNERS)]
    with opened(volumes, places) as readers:
        kept = dict(zip(asked, [reader.files() for reader in readers[:3]], strict=True))
        theirs = {reader.namespace: reader.files() for reader in readers[3:]}
        checks = {reader.run("sh", "-c", "cd /claim && sha256sum -c *.sha256").strip() for reader in readers[3:]}
    meta = jobs["Participants"]["metadata"]
    file = f"{meta['namespace']}-{meta['name']}-{meta['uid'][:8]}.safetensors"
    found = {release: holders({COORDINATOR: kept[release], **theirs}, job, tmp_path) for release, job in jobs.items()}
    assert found == {
        "Coordinator": {COORDINATOR: jobs["Coordinator"]["status"]["model"]["path"]},
        "Participants": dict.fromkeys(OWNERS, file),
        "Never": {},
    }
    assert [set(files) for files in theirs.values()] == [{file, f"{file}.sha256"}] * 3
    assert len({files[file] for files in theirs.values()}) == 1, "the same bytes for everybody"
    assert checks == {f"{file}: OK"}
    assert len(kept["Participants"]) > 1, "checkpoints are there"
    assert holding(theirs[OWNERS[0]][file], kept["Participants"]) == []
    path = jobs["Coordinator"]["status"]["model"]["path"]
    assert path in holding(kept["Coordinator"][path], kept["Coordinator"]), "the search finds what is there"


def spent(job: Object) -> dict[str, float]:
    """Epsilon by adversary."""
    return {row["adversary"]: float(row["spent"]) for row in job["status"]["privacy"]["epsilon"]}


def test_epsilon_where_one_may_collude(federation: Federation, people: Populations, name: str) -> None:
    """With four gates no verifier has both halves of an upload; with three one may, and reads one share alone."""
    (budget,) = people.names
    distributed: Object = {"epsilon": "4.0", "mechanism": "Distributed"}
    encryption: Object = {"encryption": {"scheme": "BFV"}, "collusionThreshold": 1}
    for count in (3, 4):
        people.submit(
            federation,
            f"{name}-{count}",
            budget,
            distributed,
            owners=count,
            encryption=encryption,
            quorum=count,
            rounds=ROUNDS,
        )
    three, four = (federation.wait(f"{name}-{count}", "Complete", timeout=300) for count in (3, 4))
    assert [job["status"]["privacy"]["collusionThreshold"] for job in (three, four)] == [1, 1]
    assert completed(three) == completed(four) == ROUNDS
    # Noise is calibrated to the shares of all but one of the quorum: what remains against a colluder that sees sums.
    apart = spent(four)
    assert apart["Outsiders"] < apart["OneParticipant"] == apart["CollusionThreshold"] <= 4.0 < apart["ServerAndOne"]
    together = spent(three)
    assert together["Outsiders"] < 4.0 < together["OneParticipant"]
    assert together["OneParticipant"] == together["CollusionThreshold"] == together["ServerAndOne"]
    paid = float(people.settled(budget, OWNERS[0])["spent"]["epsilon"])
    assert max(apart["ServerAndOne"], together["ServerAndOne"]) < paid, "both are charged, for the worst"


# What is changed in the third owner's Participant, what the job asks for, the reason in Accepted and its words.
NOT_ACCEPTED: dict[str, tuple[Object, str, str, str]] = {
    "nowhere to put it": ({}, "Participants", "ModelsNotDeclared", "spec.models.claimName"),
    "no such claim": ({"models": {"claimName": "nowhere"}}, "Participants", "VolumeNotReady", "'nowhere'"),
    "never, says the owner": (
        {"policy": {"namespaces": [COORDINATOR], "modelRelease": "Never"}},
        "Coordinator",
        "ModelReleaseNotAllowed",
        "no further than Never",
    ),
}


@pytest.mark.parametrize("case", NOT_ACCEPTED)
def test_a_model_that_may_not_go_there(federation: Federation, volumes: Volumes, name: str, case: str) -> None:
    """Accepted says no, with the reason and who can change it; nothing starts at any owner."""
    change, release, reason, words = NOT_ACCEPTED[case]
    datasets = [objects.dataset("numbers", "numbers", "numbers.csv")]
    other = objects.participant(f"other-{name}", datasets, namespace=OWNERS[2])
    other["spec"].update(change)
    federation.kube.apply(other)
    members = volumes.members()
    members[2]["participantRef"]["name"] = f"other-{name}"
    asked: Object = {"encryption": {"scheme": "BFV"}, "modelRelease": release}
    federation.submit(name, [], participants=members, privacy=asked, aggregation=EQUAL)
    try:
        found = federation.wait_reason(name, "Accepted", reason)
        assert found["status"] == "False"
        assert words in found["message"]
        assert f"{OWNERS[2]}/other-{name}" in found["message"]
        assert federation.leftovers(federation.uid(name)) == []
    finally:
        federation.kube.delete("participant", f"other-{name}", OWNERS[2])
