"""Run config of the built-in apps: typed, bounded, and what is wrong is named with a near match."""

from dataclasses import dataclass
from typing import Any

import pytest

from hanse.runtime.apps import ConfigError
from hanse.runtime.apps.settings import Settings, choice, units


def test_strings_and_numbers_are_read_alike() -> None:
    told = {"local-epochs": "2", "learning-rate": "1e-3", "evaluation-fraction": "0", "device": "cuda:1"}
    typed = {"local-epochs": 2, "learning-rate": 0.001, "evaluation-fraction": 0, "device": "cuda:1"}
    assert Settings.parse(told) == Settings.parse(typed)
    assert Settings.parse(told).local_epochs == 2
    assert Settings.parse({}) == Settings()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("local-epochs", "0", "local-epochs must be a whole number from 1 to 1000"),
        ("local-epochs", "1.5", "local-epochs must be a whole number"),
        ("local-epochs", "inf", "local-epochs must be a"),
        ("local-epochs", True, "local-epochs must be a whole number"),
        ("batch-size", "many", "batch-size must be a number"),
        ("learning-rate", "nan", "learning-rate must be a number from"),
        ("learning-rate", "-1", "learning-rate must be a number from"),
        ("evaluation-fraction", "1.0", "evaluation-fraction must be a number from 0 to 0.9"),
        ("device", "gpu", "device must be auto, cpu, cuda or cuda:N"),
        ("learning-rates", "1", "no key learning-rates; did you mean learning-rate?"),
        ("xyzzy", "1", "no key xyzzy$"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Settings.parse({key: value})


def test_hidden_units_are_one_size_or_several() -> None:
    assert units(64) == (64,)
    assert units("64,32") == (64, 32)
    for wrong in ("", "64,", "0", "a"):
        with pytest.raises(ValueError):
            units(wrong)


def test_a_subclass_adds_keys() -> None:
    @dataclass(frozen=True)
    class Mine(Settings):
        kind: str = "a"
        PARSERS = Settings.PARSERS | {"kind": choice("a", "b")}

    assert Mine.parse({"kind": "b", "seed": 3}) == Mine(kind="b", seed=3)
    with pytest.raises(ConfigError, match="kind must be a or b"):
        Mine.parse({"kind": "c"})
