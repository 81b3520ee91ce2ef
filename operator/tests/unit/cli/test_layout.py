"""The run directory holds for each program what its pod would mount, and nothing more."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hanse.api.exitcodes import ExitCode
from hanse.api.job import FederatedJobSpec
from hanse.api.participant import ParticipantSpec
from hanse.api.runconfig import ClientConfig, RunConfig
from hanse.cli.errors import CliError, UsageError
from hanse.cli.interrupt import Interrupt
from hanse.cli.layout import Member, lay_out
from hanse.cli.localrun import LocalJob, run_job
from hanse.cli.manifests import load
from hanse.cli.programs import environment, programs
from hanse.cli.runcommand import resolve_data
from hanse.cli.rundir import Identity, RunDirectory, open_directory
from hanse.cli.screen import Screen
from hanse.pki.identity import identity_public_key, new_identity
from tests.unit.cli.samples import IMAGE, job, participant, write

SPEC = FederatedJobSpec.model_validate(job()["spec"])
OWNERS = {(f"bank-{x}", f"bank-{x}"): ParticipantSpec.model_validate(participant(x)["spec"]) for x in "ab"}


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short links go where they are removed; pytest's own directory is too deep for them."""
    with tempfile.TemporaryDirectory(prefix="links-") as path:
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield


def prepared(tmp_path: Path, spec: FederatedJobSpec = SPEC) -> tuple[RunDirectory, Identity, list[Member]]:
    for x in "ab":
        (tmp_path / f"{x}.csv").write_text("id,default,age\n")
    data = [f"bank-{x}/loans={tmp_path / x}.csv" for x in "ab"]
    members = resolve_data(spec, OWNERS, data)
    directory = RunDirectory(tmp_path / "run")
    identity = open_directory(directory.path, "consortium", "credit", spec, resume=False)
    lay_out(directory, identity, spec, members, tmp_path / "out", port=8000)
    return directory, identity, members


def test_configs_are_those_of_the_job(tmp_path: Path) -> None:
    directory, identity, _ = prepared(tmp_path)
    run = RunConfig.model_validate_json(directory.server.run_config.read_text())
    assert (run.rounds, run.quorum, run.superlink_port, run.job.uid) == (3, 2, 8000, identity.uid)
    assert [p.name for p in run.participants] == ["bank-a", "bank-b"]
    assert run.progress is None
    client = ClientConfig.model_validate_json(directory.gate(1, "bank-b").client_config.read_text())
    assert (client.participant, client.index, client.participants) == ("bank-b", 1, 2)
    assert client.server_address == "127.0.0.1:8000"
    assert client.dataset.path == "b.csv"
    assert client.dataset.schema_ is not None
    assert client.dataset.schema_.label == "default"


def test_the_output_volume_in_the_apps_config_is_the_output_directory(tmp_path: Path) -> None:
    config = {"model-path": "/output/m.safetensors", "volume": "/output", "other": "/outputs/x", "n": "1"}
    app = SPEC.app.model_copy(update={"config": config})
    directory, _, _ = prepared(tmp_path, SPEC.model_copy(update={"app": app}))
    found = RunConfig.model_validate_json(directory.server.run_config.read_text()).config
    out = tmp_path / "out"
    assert found == {"model-path": f"{out}/m.safetensors", "volume": str(out), "other": "/outputs/x", "n": "1"}


def test_the_trainer_has_the_data_and_no_key(tmp_path: Path) -> None:
    directory, _, _ = prepared(tmp_path)
    gate, trainer = directory.gate(0, "bank-a"), directory.trainer(0, "bank-a")
    assert (trainer.data / "a.csv").read_text().startswith("id,")
    assert not any(p.suffix in (".key", ".crt") for p in trainer.root.rglob("*"))
    assert sorted(p.name for p in gate.tls.iterdir()) == ["ca.crt", "node.key", "tls.crt", "tls.key"]
    assert not gate.data.exists()
    (gate.shared / "note").write_text("x")
    assert (trainer.shared / "note").is_file()


def test_keys_are_private(tmp_path: Path) -> None:
    directory, _, _ = prepared(tmp_path)
    keys = list(directory.path.rglob("*.key"))
    assert len(keys) == 5
    assert {stat.S_IMODE(k.stat().st_mode) for k in keys} == {0o600}


def test_sockets_stay_short_however_deep_the_directory_is(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-directory-name"] * 5)
    deep.mkdir(parents=True)
    directory, _, _ = prepared(deep)
    socket = directory.gate(0, "bank-a").shared / "gate.sock"
    assert len(str(socket)) < 108
    assert socket.parent.is_dir()
    short = directory.server.root.parent
    directory.forget_links()
    assert not short.exists()
    assert directory.path.exists()
    directory.remove()
    assert not directory.path.exists()


def test_a_resume_keeps_the_identity_and_takes_more_rounds(tmp_path: Path) -> None:
    directory, identity, members = prepared(tmp_path)
    (directory.server.state / "checkpoint").write_text("kept")
    (directory.server.shared / "old").write_text("not kept")
    more = SPEC.model_copy(update={"rounds": 9})
    again = open_directory(directory.path, "consortium", "credit", more, resume=True)
    assert (again.uid, again.starts) == (identity.uid, 2)
    lay_out(directory, again, more, members, tmp_path / "out", port=8001)
    assert (directory.server.state / "checkpoint").is_file()
    assert not (directory.server.shared / "old").exists()


def test_a_resume_of_another_job_is_refused(tmp_path: Path) -> None:
    directory, _, _ = prepared(tmp_path)
    other = SPEC.model_copy(update={"quorum": 1})
    with pytest.raises(UsageError, match="another spec"):
        open_directory(directory.path, "consortium", "credit", other, resume=True)
    with pytest.raises(UsageError, match="holds no run"):
        open_directory(tmp_path, "consortium", "credit", SPEC, resume=True)
    (directory.path / "job.json").write_text("{")
    with pytest.raises(CliError, match="damaged"):
        open_directory(directory.path, "consortium", "credit", SPEC, resume=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "No data for participant bank-a"),
        (["bank-a/loans={tmp}"], "No data for participant bank-b"),
        (["bank-a"], "is not PARTICIPANT/DATASET=PATH"),
        (["bank-a/loans"], "is not PARTICIPANT/DATASET=PATH"),
        (["bank-a/loans="], "is not PARTICIPANT/DATASET=PATH"),
        (["bank-a/loans=/nowhere"], "is not there"),
        (["bank-a/loans={tmp}", "bank-b/loans={tmp}", "bank-c/loans={tmp}"], "no such participant"),
        (["bank-a/loans={tmp}", "bank-b/other={tmp}"], "No data for participant bank-b"),
    ],
)
def test_data_that_does_not_fit(tmp_path: Path, data: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve_data(SPEC, OWNERS, [d.format(tmp=tmp_path) for d in data])


def test_programs_see_the_callers_environment_and_our_code(tmp_path: Path) -> None:
    directory, _, _ = prepared(tmp_path)
    outer: dict[str, Any] = {"PATH": "/bin", "PYTHONPATH": "/mine", "OMP_NUM_THREADS": "7"}
    found = environment(outer, directory.server, "credit-server-1", (tmp_path,), 2)
    path = found["PYTHONPATH"].split(":")
    assert path[:2] == [str(tmp_path.resolve()), "/mine"]
    assert (Path(path[2]) / "hanse" / "cli").is_dir()
    assert (found["OMP_NUM_THREADS"], found["PATH"], found["POD_NAME"]) == ("7", "/bin", "credit-server-1")


def test_programs_start_servers_first_and_end_the_launcher_first(tmp_path: Path) -> None:
    directory, identity, members = prepared(tmp_path)
    found = programs(directory, identity, members, ())
    assert [p.name for p in found][:3] == ["superlink", "launcher", "bank-a/gate"]
    assert sorted(found, key=lambda p: -p.stage)[0].name == "launcher"
    by_name = {p.name: p for p in found}
    trainer, launcher = by_name["bank-b/trainer"], by_name["launcher"]
    assert trainer.arguments == ("--root", str(directory.trainer(1, "bank-b").root))
    assert launcher.environment["POD_NAME"] == "credit-server-1"
    assert [trainer.retry(c) for c in (0, 137, ExitCode.SERVER_LOST, ExitCode.DATASET_INVALID)] == [
        False,
        True,
        True,
        False,
    ]


def encrypted(tmp_path: Path, release: str) -> tuple[RunDirectory, Identity]:
    app = {"image": IMAGE, "clientApp": "hanse.runtime.apps.counting:app", "config": {"volume": "/output"}}
    privacy = {"encryption": {"keyMaker": "bank-b"}, "modelRelease": release}
    asked = job(app=app, privacy=privacy, aggregation={"weights": "Equal"})["spec"]
    spec = FederatedJobSpec.model_validate(asked)
    for x in "ab":
        (tmp_path / f"{x}.csv").write_text("id,default,age\n")
    members = resolve_data(spec, OWNERS, [f"bank-{x}/loans={tmp_path / x}.csv" for x in "ab"])
    directory = RunDirectory(tmp_path / "run")
    identity = open_directory(directory.path, "consortium", "credit", spec, resume=False)
    keys = {f"bank-{x}": new_identity().private for x in "ab"}
    lay_out(directory, identity, spec, members, tmp_path / "out", port=8000, identities=keys)
    return directory, identity


def test_gates_and_server_of_an_encrypted_job_agree(tmp_path: Path) -> None:
    directory, identity = encrypted(tmp_path, "Coordinator")
    run = RunConfig.model_validate_json(directory.server.run_config.read_text())
    assert run.encryption is not None
    assert run.encryption.key_maker == "bank-b"
    for index, name in enumerate(("bank-a", "bank-b")):
        gate = directory.gate(index, name)
        client = ClientConfig.model_validate_json(gate.client_config.read_text())
        assert client.encryption is not None
        assert client.encryption.agreement(identity.uid) == run.encryption.agreement(identity.uid)
        # Also where the spec's paths are those of this machine.
        assert client.common_terms() == client.encryption.terms
        key = gate.identity_key
        assert identity_public_key(key.read_text()) == client.encryption.member(name).identity
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert gate.initial.resolve() == directory.check(index, name).initial.resolve()
        assert not directory.trainer(index, name).identity_key.exists()
        assert not gate.models.exists()
        assert not gate.ledger.exists()


def test_each_owner_gets_its_model_where_the_coordinator_gets_none(tmp_path: Path) -> None:
    directory, _ = encrypted(tmp_path, "Participants")
    for index, name in enumerate(("bank-a", "bank-b")):
        assert directory.gate(index, name).models.resolve() == (tmp_path / "out/models" / name).resolve()
        assert not directory.trainer(index, name).models.exists()


def test_an_encrypted_run_is_not_gone_on_with(tmp_path: Path) -> None:
    asked = job(privacy={"encryption": {}}, aggregation={"weights": "Equal"})
    (manifest,) = load([write(tmp_path / "job.yaml", asked)]).jobs
    run = LocalJob(manifest, [], RunDirectory(tmp_path / "run"), tmp_path / "out", resume=True)
    with pytest.raises(UsageError, match="its key has gone"):
        run_job(run, Screen(Console()), Interrupt())
