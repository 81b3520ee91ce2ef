"""The first model of a private or encrypted job, made without data: what cannot work is said where words may leave."""

from pathlib import Path

import pytest

from hanse.api.compression import Compression
from hanse.api.encryption import EncryptionPlan, RosterMember
from hanse.api.exitcodes import ExitCode
from hanse.api.privacy import DifferentialPrivacy
from hanse.api.runconfig import InitialConfig
from hanse.dp import resolve
from hanse.runtime.apps.counting import app
from hanse.runtime.gate.initial import read_initial
from hanse.runtime.trainer.errors import TrainerExit
from hanse.runtime.trainer.initial import make_initial


def config(bits: int | None, size: int = 4) -> InitialConfig:
    asked = DifferentialPrivacy(unit="Silo", epsilon="3.0", delta="1e-5", clip="1.0")
    return InitialConfig(
        participants=2,
        config={"size": str(size)},
        privacy=resolve(asked, 3, None),
        compression=Compression(quantization_bits=bits) if bits else None,
    )


@pytest.mark.parametrize("bits", [None, 15])
def test_the_first_model_is_kept(tmp_path: Path, bits: int | None) -> None:
    make_initial(app, config(bits), tmp_path)
    _, arrays = read_initial(tmp_path)
    assert {name: array.shape for name, array in arrays.items()} == {"vector": (4,)}


@pytest.mark.parametrize(("bits", "size"), [(8, 4), (15, 1_000_000)])
def test_lanes_that_are_too_narrow_for_model_and_noise_are_refused_in_words(
    tmp_path: Path, bits: int, size: int
) -> None:
    with pytest.raises(TrainerExit, match=f"lanes of {bits} bits are too coarse.*use more bits") as caught:
        make_initial(app, config(bits, size), tmp_path)
    assert caught.value.code is ExitCode.CONFIG_INVALID


def encrypted(members: int, privacy: bool, size: int = 4) -> InitialConfig:
    made = config(None, size)
    plan = EncryptionPlan(
        scheme="BFV",
        key_maker="bank-0",
        quorum=members,
        rounds=3,
        range=None if privacy else "1",
        terms="sha256:" + "0" * 64,
        roster=[RosterMember(name=f"bank-{i}", identity="", scale="1", mass="1") for i in range(members)],
    )
    return made.model_copy(update={"encryption": plan, "privacy": made.privacy if privacy else None})


@pytest.mark.parametrize("privacy", [True, False])
def test_the_first_model_of_an_encrypted_job_is_kept(tmp_path: Path, privacy: bool) -> None:
    make_initial(app, encrypted(3, privacy), tmp_path)
    assert "vector" in read_initial(tmp_path)[1]


def test_noise_that_the_grid_of_a_sum_does_not_take_is_said_in_words(tmp_path: Path) -> None:
    little = encrypted(1000, privacy=True)
    assert little.privacy is not None
    plan = little.privacy.model_copy(update={"noise_multipliers": ["0.01"] * 3})
    with pytest.raises(TrainerExit, match="use more noise") as caught:
        make_initial(app, little.model_copy(update={"privacy": plan}), tmp_path)
    assert caught.value.code is ExitCode.CONFIG_INVALID
