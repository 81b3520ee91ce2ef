"""What the ClientApp sees of the job: its config, its partition, its data; and what is wrong with an app."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.api.exitcodes import ExitCode
from hanse.api.participant import DatasetSchema
from hanse.api.participation import JobRef
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig, ClientDataset
from hanse.runtime.flower import client
from hanse.runtime.trainer.errors import TrainerExit
from hanse.runtime.trainer.startup import check_app, data_path, get_ready


def config(**changes: Any) -> ClientConfig:
    fields: dict[str, Any] = {
        "job": JobRef(namespace="consortium", name="credit", uid="00000000-0000-4000-8000-000000000001"),
        "participant": "bank-a",
        "index": 2,
        "participants": 3,
        "server_address": "server:9443",
        "client_app": "hanse.runtime.apps.counting:app",
        "dataset": ClientDataset(name="loans", path="loans.csv"),
    }
    return ClientConfig(**(fields | changes))


def test_the_image_has_the_pinned_flwr() -> None:
    pyproject = Path(__file__).parents[5] / "pyproject.toml"
    assert f'"flwr=={client.PINNED}"' in pyproject.read_text()
    assert client.flwr_version() == client.PINNED


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("-3", -3),
        ("0.05", 0.05),
        ("1e-5", 1e-5),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("", ""),
        ("mlp", "mlp"),
        ("64,32", "64,32"),
        ("1" * 40, "1" * 40),
    ],
)
def test_run_config_is_converted(text: str, value: object) -> None:
    (converted,) = client.convert({"hidden-units": text}).values()
    if text == "1" * 40:  # too long for Flower's 64-bit integers
        assert isinstance(converted, float)
    else:
        assert converted == value
        assert type(converted) is type(value)


@given(value=st.integers(-(2**59), 2**59) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_what_was_a_number_is_that_number_again(value: bool | int | float) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert client.convert({"k": text}) == {"k": value}


def test_the_node_config_names_partition_data_and_schema(tmp_path: Path) -> None:
    schema = DatasetSchema(label="default", features=["age"])
    node = client.node_config(config(dataset=ClientDataset(name="loans", path="x", schema_=schema)), tmp_path / "x")
    told = json.loads(str(node.pop("dataset-schema")))
    assert (told["label"], told["features"]) == ("default", ["age"])
    assert node == {"partition-id": 2, "num-partitions": 3, "data-path": str(tmp_path / "x"), "privacy": ""}


def test_the_node_config_has_the_privacy_plan(tmp_path: Path) -> None:
    plan = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="3", delta="1e-5", clip="1", noise_multipliers=["5"])
    node = client.node_config(config(privacy=plan), tmp_path)
    assert PrivacyPlan.model_validate_json(str(node["privacy"])) == plan


@pytest.mark.parametrize(
    ("app", "word"),
    [
        ("hanse.runtime.apps.no_such_module:app", "ModuleNotFoundError"),
        ("hanse.runtime.apps.counting:missing", "AttributeError"),
        ("hanse.runtime.apps.counting:calls", "no flwr.clientapp.ClientApp but int"),
        ("tests.unit.runtime.trainer.app_that_exits:app", "SystemExit"),
    ],
)
def test_an_app_that_cannot_be_imported_is_named(app: str, word: str) -> None:
    with pytest.raises(TrainerExit) as end:
        check_app(app)
    assert end.value.code is ExitCode.APP_IMPORT_FAILED
    assert word in str(end.value)


def test_another_flwr_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PINNED", "1.99.0")
    with pytest.raises(TrainerExit) as end:
        check_app(config().client_app)
    assert end.value.code is ExitCode.FLOWER_VERSION_MISMATCH
    assert "1.41.0" in str(end.value)
    assert "1.99.0" in str(end.value)


@pytest.mark.parametrize("path", ["missing.csv", "../secret", "a/../../secret"])
def test_a_dataset_that_is_not_in_the_volume_is_named(tmp_path: Path, path: str) -> None:
    paths = Paths(tmp_path)
    paths.data.mkdir()
    (tmp_path / "secret").touch()
    with pytest.raises(TrainerExit) as end:
        data_path(config(dataset=ClientDataset(name="loans", path=path)), paths)
    assert end.value.code is ExitCode.DATASET_NOT_FOUND
    assert path in str(end.value)


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("preflight", ExitCode.DATASET_INVALID),
        ("preflight-config", ExitCode.CONFIG_INVALID),
        ("preflight-bug", ExitCode.DATASET_INVALID),
    ],
)
def test_what_the_apps_own_check_finds_ends_the_trainer(tmp_path: Path, fail: str, code: ExitCode) -> None:
    paths = Paths(tmp_path)
    paths.data.mkdir()
    (paths.data / "loans.csv").touch()
    with pytest.raises(TrainerExit) as end:
        get_ready(config(config={"fail": fail}), paths)
    assert end.value.code is code
