"""The trainer as a real process; the test is its gate. One process serves all the faults that it must survive."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from hanse.api.exitcodes import ExitCode
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.replies import ReplyCode
from hanse.api.runconfig import CheckConfig, ClientConfig, ClientDataset
from hanse.runtime.flower import wire
from hanse.runtime.gate.frames import Connection, Frame
from hanse.runtime.gate.loop import listen
from hanse.runtime.trainer.child import OOM_SCORE
from hanse.runtime.trainer.memory import counter_files
from tests.unit.runtime.gate.memory_fleet import letter

WAIT = 60.0


class Trainer:
    """A running trainer, and the gate's end of its socket."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.paths = Paths(root)
        for directory in (self.paths.config, self.paths.data, self.paths.shared):
            directory.mkdir(parents=True)
        (self.paths.data / "rows.csv").touch()
        fields: dict[str, Any] = {
            "job": JobRef(namespace="consortium", name="credit", uid="00000000-0000-4000-8000-000000000001"),
            "participant": "bank-a",
            "index": 0,
            "participants": 2,
            "server_address": "server:9443",
            "client_app": "hanse.runtime.apps.counting:app",
            "dataset": ClientDataset(name="rows", path="rows.csv"),
        }
        config = ClientConfig(**(fields | changes))
        self.paths.client_config.write_text(config.model_dump_json(by_alias=True))
        self.listener = listen(self.paths.shared)
        self.listener.settimeout(WAIT)
        command = [sys.executable, "-m", "hanse.runtime.trainer", "--root", str(root)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True)
        self.state: list[Any] = []
        self.count = 0

    def welcome(self, kind: str = "welcome", **meta: Any) -> None:
        sock, _ = self.listener.accept()
        self.connection = Connection(sock, WAIT)
        self.hello = self.connection.recv()
        self.connection.send(Frame(kind, meta))

    def send(self, fail: str = "", kind: str = "train") -> str:
        self.count += 1
        arrays = ArrayRecord({"vector": Array(np.zeros(2, np.float32))})
        config = ConfigRecord({"server-round": 1, "fail": fail} if fail else {"server-round": 1})
        sent = letter(RecordDict({"arrays": arrays, "config": config}), kind, f"m{self.count}")
        blobs = wire.pack(sent.message.content)
        meta = {"id": sent.message_id, "origin": sent.origin.hex(), "split": len(blobs)}
        self.connection.send(Frame("message", meta, [*blobs, *self.state]))
        return sent.message_id

    def metrics(self, frame: Frame) -> MetricRecord:
        content, self.state = wire.unpack_answer(frame.blobs, frame.meta["split"])
        return content.metric_records["metrics"]

    def ask(self, fail: str = "", kind: str = "train") -> Frame:
        message_id = self.send(fail, kind)
        frame = self.connection.recv()
        assert frame.kind == "reply"
        assert frame.meta["id"] == message_id
        return frame

    def end(self) -> int:
        code = self.process.wait(WAIT)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.listener.close()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path_factory.mktemp("trainer"))
    trainer.welcome()
    yield trainer
    trainer.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path)
    trainer.welcome()
    yield trainer
    trainer.close()


def test_the_hello_names_the_flwr_version(shared: Trainer) -> None:
    assert shared.hello.meta == {"protocol": 1, "flwr": "1.41.0"}


def test_each_message_starts_afresh_and_only_the_context_remembers(shared: Trainer) -> None:
    first, second = shared.metrics(shared.ask()), shared.metrics(shared.ask(kind="evaluate"))
    assert (first["calls"], second["calls"]) == (1, 1)
    assert (first["state_calls"], second["state_calls"]) == (1, 2)
    assert first["pid"] != second["pid"]


def test_the_reply_is_the_apps(shared: Trainer) -> None:
    content, _ = wire.unpack_answer((frame := shared.ask()).blobs, frame.meta["split"])
    assert content.array_records["arrays"]["vector"].numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("exception", ReplyCode.APP_ERROR),
        ("exit", ReplyCode.TRAINER_DIED),
        ("sys-exit", ReplyCode.TRAINER_DIED),
        ("kill", ReplyCode.TRAINER_DIED),
        ("orphan", ReplyCode.TRAINER_DIED),
    ],
)
def test_an_app_that_fails_costs_one_message_and_says_nothing(shared: Trainer, fail: str, code: ReplyCode) -> None:
    frame = shared.ask(fail)
    assert frame.meta == {"id": frame.meta["id"], "code": code}
    assert not frame.blobs
    assert "code" not in shared.ask().meta
    assert not shared.children()


def test_an_unknown_action_is_an_app_error(shared: Trainer) -> None:
    assert shared.ask(kind="query.nothing").meta["code"] == ReplyCode.APP_ERROR


def test_a_cancelled_message_ends_its_process_and_the_next_is_served(shared: Trainer) -> None:
    message_id = shared.send("hang")
    shared.connection.send(Frame("cancel", {"id": message_id}))
    assert shared.metrics(shared.ask())["calls"] == 1
    assert not shared.children()


def test_a_gate_that_restarts_finds_its_trainer_again(own: Trainer) -> None:
    own.send("hang")
    own.connection.close()
    own.welcome()
    assert "code" not in own.ask().meta
    assert not own.children()


def test_the_trainer_ends_well_only_after_the_end_of_the_job(own: Trainer) -> None:
    assert own.process.poll() is None
    own.connection.send(Frame("end", {"outcome": "Complete"}))
    assert own.end() == ExitCode.COMPLETE
    assert not own.paths.termination_log.exists()


def test_a_drained_trainer_lets_the_gate_answer_first(own: Trainer) -> None:
    own.send("hang")
    own.process.send_signal(signal.SIGTERM)
    frame = own.connection.recv()
    assert (frame.kind, frame.meta) == ("leave", {"code": ReplyCode.DRAINED})
    assert own.process.poll() is None
    own.connection.send(Frame("left"))
    assert own.end() == ExitCode.DRAINED


def test_a_drained_trainer_does_not_wait_for_a_gate_that_is_silent(own: Trainer) -> None:
    own.process.send_signal(signal.SIGTERM)
    assert own.connection.recv().kind == "leave"
    own.connection.close()
    assert own.end() == ExitCode.DRAINED


def test_data_that_the_app_refuses_later_ends_the_trainer(own: Trainer) -> None:
    own.send("dataset")
    assert own.connection.recv().meta == {"code": ReplyCode.DATASET_INVALID}
    own.connection.send(Frame("left"))
    assert own.end() == ExitCode.DATASET_INVALID
    assert "column 'label'" in own.paths.termination_log.read_text()


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup of 200 MB, version 1 or 2, where we may make one."""
    home = next((path.parent for path in counter_files() if path.is_file()), None)
    if home is None or not os.access(home, os.W_OK):
        pytest.skip("no memory cgroup that we may write to")
    group = home / f"hanse-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
        (group / limit).write_text(str(200 << 20))
    except OSError as error:
        group.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    group.rmdir()


def test_a_child_that_the_oom_killer_takes_is_named(memory_group: Path, own: Trainer) -> None:
    (memory_group / "cgroup.procs").write_text(str(own.process.pid))
    own.send("oom")
    assert own.connection.recv().meta == {"code": ReplyCode.OUT_OF_MEMORY}
    own.connection.send(Frame("left"))
    assert own.end() == ExitCode.OUT_OF_MEMORY
    assert "memory limit" in own.paths.termination_log.read_text()


def test_a_lost_server_ends_the_trainer(own: Trainer) -> None:
    own.connection.send(Frame("lost", {"text": "the server has not answered for 300 s"}))
    assert own.end() == ExitCode.SERVER_LOST
    assert "300 s" in own.paths.termination_log.read_text()


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"client_app": "hanse.runtime.apps.counting:missing"}, ExitCode.APP_IMPORT_FAILED, "AttributeError"),
        ({"dataset": ClientDataset(name="rows", path="nowhere.csv")}, ExitCode.DATASET_NOT_FOUND, "nowhere.csv"),
        ({"config": {"fail": "preflight"}}, ExitCode.DATASET_INVALID, "column 'label'"),
    ],
)
def test_what_is_wrong_at_the_start_has_an_exit_code_and_a_message(
    tmp_path: Path, changes: dict[str, Any], code: ExitCode, word: str
) -> None:
    trainer = Trainer(tmp_path, **changes)
    assert trainer.end() == code
    assert word in trainer.paths.termination_log.read_text()


def test_a_trainer_that_the_gate_refuses_says_why(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    trainer.welcome("refused", text="the trainer's image has flwr 1.40.0")
    assert trainer.end() == ExitCode.FLOWER_VERSION_MISMATCH
    assert "1.40.0" in trainer.paths.termination_log.read_text()


def test_without_a_gate_the_trainer_gives_up(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, server_lost_seconds=1)
    (trainer.paths.shared / "gate.sock").unlink()
    assert trainer.end() == ExitCode.GATE_FAILED


@pytest.mark.parametrize(
    ("app", "code"),
    [("hanse.runtime.apps.counting:app", 0), ("hanse.runtime.apps.counting:missing", ExitCode.APP_IMPORT_FAILED)],
)
def test_the_check_needs_no_data_and_no_gate(tmp_path: Path, app: str, code: int) -> None:
    paths = Paths(tmp_path)
    paths.config.mkdir(parents=True)
    paths.check_config.write_text(CheckConfig(client_app=app).model_dump_json(by_alias=True))
    command = [sys.executable, "-m", "hanse.runtime.trainer", "check", "--root", str(tmp_path)]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=WAIT, check=False).returncode == code


def test_without_a_config_nothing_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hanse.runtime.trainer", "--root", str(tmp_path)]
    done = subprocess.run(command, stderr=subprocess.DEVNULL, timeout=WAIT, check=False)
    assert done.returncode == ExitCode.CONFIG_INVALID


def test_the_socket_is_the_only_way_in(shared: Trainer) -> None:
    """Nothing of the supervisor's is open in a child: no gate socket, no signal pipe."""
    shared.send("hang")
    try:
        child = _wait_for_session(shared)
        links = [str(f.readlink()) for f in Path(f"/proc/{child}/fd").iterdir()]
        assert not [link for link in links if link.startswith("socket:")]
    finally:
        shared.connection.send(Frame("cancel", {"id": f"m{shared.count}"}))
        shared.ask()


def _wait_for_session(trainer: Trainer) -> int:
    """The child, once it has left the supervisor's session (which is when it has closed what is not its own)."""
    while True:
        for pid in trainer.children():
            score = Path(f"/proc/{pid}/oom_score_adj").read_text()
            if os.getsid(pid) == pid and int(score) >= OOM_SCORE:
                return pid
