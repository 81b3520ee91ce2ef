"""Progress on its way out: files, stamps, and the push over TLS with a token that is read each time."""

import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hanse.api.conditions import Reason
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.progress import TERMINATION_MESSAGE_LIMIT, Progress
from hanse.api.runconfig import ProgressTarget, RunConfig, ServerParticipant
from hanse.runtime.lost import read_lost
from hanse.runtime.progress import ProgressHub
from hanse.runtime.progress_push import Pusher
from tests.contract.runtime.server.rig import Authority


def _paths(root: Path) -> Paths:
    paths = Paths(root)
    for directory in (
        paths.shared,
        paths.termination_log.parent,
        paths.progress_token.parent,
        paths.operator_ca.parent,
    ):
        directory.mkdir(parents=True)
    paths.termination_log.touch()
    return paths


def _config(url: str | None = None, clients: int = 1) -> RunConfig:
    return RunConfig(
        job=JobRef(namespace="n", name="j", uid="00000000-0000-4000-8000-000000000001"),
        client_app="a:b",
        participants=[ServerParticipant(name=f"p{i}", index=i, public_key="k") for i in range(clients)],
        quorum=1,
        rounds=9,
        progress=None if url is None else ProgressTarget(url=url),
    )


def _line(**changes: Any) -> bytes:
    progress = Progress(job_uid="u", sequence=0, updated_at=datetime.datetime.now(datetime.UTC), **changes)
    return progress.to_json().encode()


def _read(path: Path) -> Progress:
    return Progress.model_validate_json(path.read_bytes())


def test_each_state_is_stamped_and_written_twice(tmp_path: Path) -> None:
    paths = _paths(tmp_path)
    with ProgressHub(paths, _config(), "pod-7") as hub:
        hub.stamp(run=3, resumed=2)
        hub.receive(_line(completed=4, phase="Running"))
    for file in (paths.shared / "progress.json", paths.termination_log):
        state = _read(file)
        assert (state.pod, state.run, state.resumed, state.sequence, state.completed) == ("pod-7", 3, 2, 2, 4)


def test_a_failure_outside_of_the_aggregator_keeps_what_was_reached(tmp_path: Path) -> None:
    paths = _paths(tmp_path)
    with ProgressHub(paths, _config(), "pod") as hub:
        hub.receive(_line(completed=4, phase="Running"))
        hub.fail(Reason.BACKOFF_LIMIT_EXCEEDED, "x" * 500)
    state = _read(paths.termination_log)
    assert (state.phase, state.reason, state.completed) == ("Failed", "BackoffLimitExceeded", 4)
    assert len(state.message) == 256


def test_a_line_that_is_no_progress_changes_nothing(tmp_path: Path) -> None:
    with ProgressHub(_paths(tmp_path), _config(), "pod") as hub:
        hub.receive(_line(completed=4))
        hub.receive(b'{"jobUid": 3}')
        assert hub.newest.completed == 4


def test_the_termination_message_fits_whatever_happens(tmp_path: Path) -> None:
    paths = _paths(tmp_path)
    people = [{"name": f"p{i}", "reason": "NotConnected"} for i in range(1000)]
    with ProgressHub(paths, _config(), "pod") as hub:
        hub.receive(_line(participants=people))
    assert 0 < paths.termination_log.stat().st_size <= TERMINATION_MESSAGE_LIMIT
    assert len(_read(paths.shared / "progress.json").participants) == 1000


def test_a_volume_that_refuses_does_not_stop_the_run(tmp_path: Path) -> None:
    with ProgressHub(Paths(tmp_path / "nowhere"), _config(), "pod") as hub:
        hub.receive(_line(completed=1))
        assert hub.newest.completed == 1


class Operator(http.server.ThreadingHTTPServer):
    """Takes pushes as the operator does; `answers` are statuses, the last one repeats."""

    def __init__(self, tls: Path, answers: list[int]) -> None:
        self.answers, self.tokens, self.states = answers, [], []  # type: ignore[var-annotated]
        self.reply = b""
        self.arrived = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.states) >= count, timeout=30)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Operator)
        body = self.rfile.read(int(self.headers["content-length"]))
        status = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        self.send_response(status)
        self.send_header("content-length", str(len(server.reply)))
        self.end_headers()
        self.wfile.write(server.reply)
        with server.arrived:
            server.tokens.append(self.headers["authorization"])
            server.states.append(json.loads(body))
            server.arrived.notify_all()

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    Authority.make().issue(tmp_path / "operator", "operator", server=True)
    server = Operator(tmp_path / "operator", [204])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _trusting(root: Path) -> Paths:
    paths = _paths(root / "pod")
    paths.operator_ca.write_bytes((root / "operator/ca.crt").read_bytes())
    paths.progress_token.write_text("token-1\n")
    return paths


def test_the_newest_state_is_pushed_with_the_token_of_the_moment(tmp_path: Path, operator: Operator) -> None:
    paths = _trusting(tmp_path)
    with ProgressHub(paths, _config(f"https://127.0.0.1:{operator.server_port}/p"), "pod") as hub:
        hub.receive(_line(completed=1))
        operator.wait_for(1)
        paths.progress_token.write_text("token-2")
        hub.receive(_line(completed=2))
        hub.receive(_line(completed=3))
    assert operator.tokens[0] == "Bearer token-1"
    assert operator.tokens[-1] == "Bearer token-2"
    assert operator.states[-1]["completed"] == 3
    assert operator.states[-1]["jobUid"] == "u"


def test_a_push_that_fails_is_repeated(tmp_path: Path, operator: Operator) -> None:
    operator.answers = [503, 204]
    paths = _trusting(tmp_path)
    with ProgressHub(paths, _config(f"https://127.0.0.1:{operator.server_port}/p"), "pod") as hub:
        hub.receive(_line(completed=1))
        operator.wait_for(1)
    assert [state["completed"] for state in operator.states] == [1, 1]


def test_a_state_that_waits_is_repeated_and_the_answer_is_heard(tmp_path: Path, operator: Operator) -> None:
    paths = _trusting(tmp_path)
    url = f"https://127.0.0.1:{operator.server_port}/p"
    heard: list[list[str]] = []
    pusher = Pusher(
        url,
        paths,
        flush_seconds=5,
        heard=lambda reply: heard.append(reply.lost),
        repeat_seconds=0.01,
        interval_seconds=0.01,
    )
    pusher.start()
    pusher.push(Progress.model_validate_json(_line(phase="WaitingForParticipants")))
    operator.wait_for(2)
    operator.answers, operator.reply = [200], b'{"lost": ["p0"]}'
    operator.wait_for(len(operator.states) + 2)
    pusher.push(Progress.model_validate_json(_line(phase="Running", completed=1)))
    pusher.finish()
    assert heard[0] == []
    assert ["p0"] in heard
    assert [s["phase"] for s in operator.states].count("Running") == 1, "no repetition once it runs"


def test_what_the_operator_says_of_the_lost_reaches_the_aggregators_file(tmp_path: Path, operator: Operator) -> None:
    paths = _trusting(tmp_path)
    operator.answers, operator.reply = [200], b'{"lost": ["p0"]}'
    with ProgressHub(paths, _config(f"https://127.0.0.1:{operator.server_port}/p"), "pod") as hub:
        assert read_lost(paths) == frozenset()
        hub.receive(_line(phase="WaitingForParticipants"))
        operator.wait_for(1)
    assert read_lost(paths) == {"p0"}


@pytest.mark.parametrize("reply", [b"", b"nonsense", b'{"lost": 3}'])
def test_an_answer_that_is_none_of_ours_is_no_failure(tmp_path: Path, operator: Operator, reply: bytes) -> None:
    paths = _trusting(tmp_path)
    operator.answers, operator.reply = [200], reply
    with ProgressHub(paths, _config(f"https://127.0.0.1:{operator.server_port}/p"), "pod") as hub:
        hub.receive(_line(completed=1))
        operator.wait_for(1)
    assert len(operator.states) == 1
    assert read_lost(paths) == frozenset()


def test_an_operator_that_another_authority_vouches_for_gets_no_token(tmp_path: Path, operator: Operator) -> None:
    paths = _trusting(tmp_path)
    Authority.make().issue(tmp_path / "other", "other", server=True)
    paths.operator_ca.write_bytes((tmp_path / "other/ca.crt").read_bytes())
    pusher = Pusher(f"https://127.0.0.1:{operator.server_port}/p", paths, flush_seconds=0.5)
    pusher.start()
    pusher.push(Progress.model_validate_json(_line(completed=1)))
    pusher.finish()
    assert operator.tokens == []
