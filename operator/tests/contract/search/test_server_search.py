"""SuperLink's database, the server's processes and its disk are searched for any participant's update, in every form.

With encryption off the same search, at the same moment, finds them. Real processes: front, SuperLink, launcher,
aggregator, workers, gates, trainers. Searched is while the server has two of three uploads of round 1, and at the end.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanse.api.encryption import EncryptingScheme
from hanse.api.exitcodes import ExitCode
from hanse.api.runconfig import ClientDataset, ServerParticipant
from hanse.runtime.codec import Layout, SumCodec
from hanse.runtime.he import engine_of
from hanse.runtime.he.bfv import PARAMETERS
from hanse.runtime.he.blob import HEADER_BYTES
from hanse.runtime.he.lanes import LANES, pack
from tests.attacks.searching import Form, Searcher, cells, file_blocks, files_under, forms, memory, tree
from tests.contract.runtime.gate.encrypted_pods import encrypted_pods
from tests.contract.runtime.gate.pod import ClientPod
from tests.contract.runtime.server.rig import Rig, wait_for
from tests.contract.search import known_app

pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

CLIENTS, ROUNDS, RANGE = 3, 2, 1.0
SLOTS = PARAMETERS.degree
APP = "tests.contract.search.known_app:app"
SCALES = [known_app.records(i) / known_app.records(CLIENTS - 1) for i in range(CLIENTS)]


class Job:
    """A rig with its client pods; `scheme` None is a job in the clear."""

    def __init__(self, root: Path, scheme: EncryptingScheme | None) -> None:
        # No time-out ends a round while the search takes its time.
        patient = {"round_timeout_seconds": 600, "start_timeout_seconds": 300}
        self.rig = Rig(root, CLIENTS, {"rounds": ROUNDS, "quorum": CLIENTS, "client_app": APP, **patient})
        self.hold = root / "go"
        settings = [self._settings(i) for i in range(CLIENTS)]
        if scheme is None:
            self.pods = [ClientPod(self.rig, i, one) for i, one in enumerate(settings)]
        else:
            self.pods = encrypted_pods(self.rig, settings, SCALES, scheme=scheme, reach=RANGE)
        self._configure_server()

    def _settings(self, index: int) -> dict[str, Any]:
        dataset = ClientDataset(name="rows", path="rows.csv", records=known_app.records(index))
        address = f"127.0.0.1:{self.rig.config.server_port}"  # the front's, as in a pod
        return {"client_app": APP, "config": {"hold": str(self.hold)}, "dataset": dataset, "server_address": address}

    def _configure_server(self) -> None:
        described = [
            ServerParticipant(name=p.name, index=p.index, public_key=p.public_key, records=known_app.records(p.index))
            for p in self.rig.config.participants
        ]
        more = {"participants": described, "config": {"hold": str(self.hold)}}
        self.rig.write_config(self.rig.config.model_copy(update=more))

    def start(self) -> None:
        scratch = self.rig.paths.root / "tmp"
        scratch.mkdir()
        self.rig.start_superlink()
        self.rig.start_program("front", "hanse.runtime.front", TMPDIR=str(scratch))
        self.rig.start_server()
        for pod in self.pods:
            pod.start()

    def servers(self) -> list[int]:
        """Every process of the server pod."""
        return [pid for name in ("superlink", "front", "server") for pid in tree(self.rig.processes[name].pid)]

    def in_memory(self, searcher: Searcher) -> Counter[str]:
        found: Counter[str] = Counter()
        for pid in self.servers():
            try:
                found.update(searcher.search(memory(pid)))
            except (FileNotFoundError, ProcessLookupError):  # a worker that has ended
                continue
        return found

    def on_disk(self, searcher: Searcher) -> Counter[str]:
        """Files of the server pod as they are, logs of its programs, and what is in its databases."""
        found: Counter[str] = Counter()
        logs = [self.rig.root / f"{name}.log" for name in ("superlink", "front", "server")]
        for path in [*files_under(self.rig.paths.root), *logs]:
            found.update(searcher.search(file_blocks(path)))
            with path.open("rb") as file:
                if file.read(15) == b"SQLite format 3":
                    found.update(searcher.search(cells(path)))
        return found


def everything(number: int) -> Iterator[Form]:
    """Each participant's update of a round, and the mean of all, in every form."""
    layout = Layout.of({"vector": np.zeros(known_app.SIZE, np.float32)})
    members = [(round(scale, 6), round(scale, 6)) for scale in SCALES]
    codec = SumCodec.of(layout, number, "sha256:" + "0" * 64, members, None, None, RANGE)
    updates = [known_app.update(i, number).astype(np.float64) for i in range(CLIENTS)]
    total = sum(known_app.records(i) for i in range(CLIENTS))
    for index, update in enumerate(updates):
        points = codec.quantise(update, index).points
        chunks = [pack(points[at : at + LANES * SLOTS], SLOTS) for at in range(0, len(points), LANES * SLOTS)]
        yield from forms(
            f"p{index} in round {number}",
            {
                "update": update,
                "scaled": update * SCALES[index],
                "share": update * (known_app.records(index) / total),
                "times records": update * known_app.records(index),
            },
            {"points": points, "packed": np.concatenate(chunks)},
        )
    mean = sum(u * known_app.records(i) for i, u in enumerate(updates)) / total
    summed = np.sum([codec.quantise(update, index).points for index, update in enumerate(updates)], axis=0)
    grid = codec.mean(summed, sum(mass for _, mass in members))
    yield from forms(f"all in round {number}", {"mean": np.asarray(mean), "grid mean": grid}, {"sum": summed})


FIRST = Searcher(everything(1))
ALL = Searcher([*everything(1), *everything(2)])


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path, request.param)
    with made.rig:
        made.start()
        yield made


def finish(job: Job) -> None:
    job.hold.touch()
    assert job.rig.wait_exit("server", 400) == ExitCode.COMPLETE, job.rig.log("server")
    told = job.rig.progress()
    assert told is not None
    assert [record.contributed for record in told.rounds] == [CLIENTS] * ROUNDS


@pytest.mark.parametrize("job", [None], indirect=True, ids=["None"])
def test_control_without_encryption_updates_lie_in_memory_database_and_disk(job: Job) -> None:
    wanted = {f"p{index} in round 1: update as <f4" for index in (0, 1)}
    wait_for(lambda: wanted <= job.in_memory(FIRST).keys(), "two updates in the server's memory", 300)
    assert wanted & job.on_disk(FIRST).keys()
    finish(job)


@pytest.mark.parametrize("job", ["BFV"], indirect=True)
def test_encrypted_no_form_of_any_update_is_anywhere(job: Job) -> None:
    engine = engine_of("BFV")
    count = known_app.SIZE
    # How an upload of this job begins.
    header = engine.encrypt(engine.keygen(), np.zeros(count, np.int64))[:HEADER_BYTES]

    def arrived() -> int:
        return sum(block.count(header) for pid in job.servers() for block in memory(pid))

    wait_for(lambda: arrived() >= 2, "two uploads in the server's memory", 300)
    assert job.in_memory(FIRST) == {}
    assert job.on_disk(FIRST) == {}
    # The search is right at this very moment: the trainer of the third has its update in memory.
    trainer = tree(job.rig.processes[job.pods[known_app.HOLDER].trainer].pid)
    held = Counter[str]()
    for pid in trainer:
        held.update(FIRST.search(memory(pid)))
    assert f"p{known_app.HOLDER} in round 1: update as <f4" in held
    finish(job)
    assert job.on_disk(ALL) == {}
