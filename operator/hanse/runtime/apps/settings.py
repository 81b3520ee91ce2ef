"""The built-in apps' settings, from the run config (spec.app.config). Wrong keys and values raise ConfigError."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from hanse.runtime.apps import ConfigError
from hanse.runtime.apps.near import hint


def whole(minimum: int, maximum: int) -> Callable[[Any], int]:
    """A whole number in [minimum, maximum]."""

    def parse(value: Any) -> int:
        number = float(value)
        if isinstance(value, bool) or number != int(number) or not minimum <= number <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return int(number)

    return parse


def number(minimum: float, maximum: float) -> Callable[[Any], float]:
    """A number in [minimum, maximum]."""

    def parse(value: Any) -> float:
        result = float(value)
        if isinstance(value, bool) or not minimum <= result <= maximum:
            raise ValueError(f"a number from {minimum:g} to {maximum:g}")
        return result

    return parse


def choice(*allowed: str) -> Callable[[Any], str]:
    """One of `allowed`."""

    def parse(value: Any) -> str:
        if str(value) not in allowed:
            raise ValueError(" or ".join(allowed))
        return str(value)

    return parse


def units(value: Any) -> tuple[int, ...]:
    """Sizes of the hidden layers: `64` or `64,32`."""
    one = whole(1, 65_536)
    return tuple(one(part) for part in str(value).split(","))


def device_name(value: Any) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    text = str(value)
    if text not in ("auto", "cpu", "cuda") and not (text.startswith("cuda:") and text[5:].isdigit()):
        raise ValueError("auto, cpu, cuda or cuda:N")
    return text


@dataclass(frozen=True)
class Settings:
    """What both apps know. Keys of the run config are the field names with dashes."""

    local_epochs: int = 1
    batch_size: int = 128
    learning_rate: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0
    seed: int = 0
    evaluation_fraction: float = 0.1
    device: str = "auto"
    threads: int = 1

    PARSERS: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "local_epochs": whole(1, 1000),
        "batch_size": whole(1, 1_000_000),
        "learning_rate": number(1e-9, 1e3),
        "momentum": number(0.0, 0.9999),
        "weight_decay": number(0.0, 10.0),
        "seed": whole(0, 2**31 - 1),
        "evaluation_fraction": number(0.0, 0.9),
        "device": device_name,
        "threads": whole(1, 256),
    }

    @classmethod
    def parse(cls, run_config: Mapping[str, Any]) -> Self:
        """Settings from a run config whose values are strings or already numbers. Raises ConfigError."""
        known = {field.name.replace("_", "-"): field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in run_config.items():
            if key not in known:
                raise ConfigError(f"spec.app.config: this app has no key {key}{hint(key, known)}")
            try:
                values[known[key]] = cls.PARSERS[known[key]](value)
            except (ValueError, OverflowError) as error:
                expected = str(error)
                if expected.startswith(("could not convert", "cannot convert")):
                    expected = "a number"
                raise ConfigError(f"spec.app.config: {key} must be {expected}") from error
        return cls(**values)
