"""The back ends that are never run by the project's own tests, and how a back end is found."""

import sys
from pathlib import Path

import pytest

from e2e.cluster import kind
from e2e.cluster.__main__ import main
from e2e.cluster.backend import CreateOptions, LoadedImage
from e2e.cluster.errors import ClusterError, MissingRequirement, NotRunning, Unsupported
from e2e.cluster.existing import ExistingCluster, load_command
from e2e.cluster.local.backend import LocalCluster
from e2e.cluster.node import task_pids
from e2e.cluster.registry import names, open_cluster


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSE_CACHE", str(tmp_path))


def _record(tmp_path: Path, name: str, text: str) -> None:
    directory = tmp_path / "clusters" / name
    directory.mkdir(parents=True)
    (directory / "state.json").write_text(text)


def test_kind_commands() -> None:
    config = Path("/k")
    assert kind.create_command("dev", config) == [
        "kind", "create", "cluster", "--name", "hanse-dev", "--kubeconfig", "/k", "--wait", "120s",
    ]  # fmt: skip
    assert kind.delete_command("dev", config) == [
        "kind", "delete", "cluster", "--name", "hanse-dev", "--kubeconfig", "/k",
    ]  # fmt: skip
    assert kind.load_command("dev", Path("a.tar")) == [
        "kind", "load", "image-archive", "a.tar", "--name", "hanse-dev",
    ]  # fmt: skip
    assert kind.export_logs_command("dev", Path("/t")) == ["kind", "export", "logs", "/t", "--name", "hanse-dev"]
    assert kind.exec_command("dev", ["ps"]) == ["docker", "exec", "hanse-dev-control-plane", "ps"]


def test_kind_makes_an_image_known_by_its_digest() -> None:
    command = kind.tag_command("dev", LoadedImage("hanse/gate:dev", "sha256:aa"))
    assert command[-2:] == ["docker.io/hanse/gate:dev", "docker.io/hanse/gate@sha256:aa"]


def test_kind_names_the_program_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster = open_cluster("x", "kind")
    assert not cluster.status().running
    with pytest.raises(MissingRequirement, match="needs kind"):
        cluster.create(CreateOptions())


def test_existing_refuses_to_load_unless_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HANSE_LOAD_COMMAND", raising=False)
    with pytest.raises(Unsupported, match="HANSE_LOAD_COMMAND"):
        ExistingCluster("x").load_images([Path("a.tar")])


def test_existing_loads_with_the_given_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tmp_path / "with space.tar"
    archive.write_text("image")
    monkeypatch.setenv("HANSE_LOAD_COMMAND", f"cp {{archive}} '{tmp_path}/loaded'")
    assert ExistingCluster("x").load_images([archive]) == []
    assert (tmp_path / "loaded").read_text() == "image"
    assert load_command("ssh n ctr -n k8s.io i import {archive}", Path("/a"))[-1] == "/a"


def test_existing_reaches_its_node_with_the_given_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSE_NODE_COMMAND", "env A=1")
    assert ExistingCluster("x").node_exec(["printenv", "A"]).stdout == "1\n"
    monkeypatch.delenv("HANSE_NODE_COMMAND")
    with pytest.raises(Unsupported, match="HANSE_NODE_COMMAND"):
        ExistingCluster("x").node_exec(["true"])


def test_a_cluster_on_disk_keeps_its_back_end(tmp_path: Path) -> None:
    _record(tmp_path, "a", '{"backend": "existing"}')
    _record(tmp_path, "b", '{"backend": "nonsense"}')
    assert isinstance(open_cluster("a"), ExistingCluster)
    assert isinstance(open_cluster("b"), LocalCluster)
    assert isinstance(open_cluster("c"), LocalCluster)
    assert names() == ["a", "b"]
    with pytest.raises(ClusterError, match="take it down first"):
        open_cluster("a", "kind")


def test_a_local_cluster_that_is_not_there_says_how_to_make_it() -> None:
    cluster = open_cluster("nobody")
    assert not cluster.status().running
    with pytest.raises(NotRunning, match="up --name nobody"):
        cluster.kubeconfig()


def test_down_of_nothing_is_fine_and_status_says_not_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code in ((["down", "--name", "nobody"], 0), (["status", "--name", "nobody"], 3)):
        monkeypatch.setattr(sys, "argv", ["x", *words])
        assert main() == code
    assert "not running" in capsys.readouterr().out


def test_an_error_is_text_and_an_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "images", "--name", "BAD"])
    assert main() == 1
    assert "error: cluster name 'BAD'" in capsys.readouterr().err


def test_first_process_of_a_task_is_read_from_the_list() -> None:
    listing = "TASK    PID    STATUS\naaa     12     RUNNING\naab     13     STOPPED\n"
    assert task_pids(listing, "aaa") == [12]
    assert task_pids(listing, "aa") == []
