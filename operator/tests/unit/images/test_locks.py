"""The images' lock files: hashed, without addresses, and what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = {
    "operator": ["operator"],
    "server": ["server"],
    "gate": ["gate"],
    "trainer-cpu": ["trainer"],
    "trainer-gpu": ["trainer", "torch"],
}
ALL = [*EXTRAS, "wheel"]


def lock_text(name: str) -> str:
    return (ROOT / "images" / name / "requirements.lock").read_text()


def pins(name: str) -> dict[str, str]:
    """Version by package."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock_text(name), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def asked(extras: list[str]) -> list[Requirement]:
    """The project's own requirements with those of the extras, where they refer to each other too."""
    requirements = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    pending = list(extras)
    while pending:
        for line in PROJECT["project"]["optional-dependencies"][pending.pop()]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["project"]["name"]:
                pending.extend(requirement.extras)
            else:
                requirements.append(requirement)
    image = {**default_environment(), "python_version": "3.13", "sys_platform": "linux"}
    return [r for r in requirements if r.marker is None or r.marker.evaluate({k: str(v) for k, v in image.items()})]


def unmet(requirements: list[Requirement], locked: dict[str, str]) -> list[str]:
    return [
        str(requirement)
        for requirement in requirements
        if canonicalize_name(requirement.name) not in locked
        or not requirement.specifier.contains(locked[canonicalize_name(requirement.name)], prereleases=True)
    ]


@pytest.mark.parametrize("name", EXTRAS)
def test_lock_holds_what_the_extra_asks_for(name: str) -> None:
    """Red after a change to pyproject.toml: run `scripts/build lock`."""
    assert unmet(asked(EXTRAS[name]), pins(name)) == []


def test_a_requirement_that_moved_is_noticed() -> None:
    assert unmet([Requirement("flwr==9.9"), Requirement("left-pad")], pins("gate")) == ["flwr==9.9", "left-pad"]


def test_the_build_backend_is_locked() -> None:
    requirements = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    assert unmet(requirements, pins("wheel")) == []
    source = (ROOT / "images" / "wheel" / "requirements.in").read_text()
    assert [line for line in source.splitlines() if line and line[0] != "#"] == [str(r) for r in requirements]


@pytest.mark.parametrize("name", ALL)
def test_every_pin_has_a_hash_and_no_address(name: str) -> None:
    text = re.sub(r"\\\n", " ", lock_text(name))
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"\S+==\S+( ;.*)?( +--hash=sha256:[0-9a-f]{64})+ *$", line)] == []
    assert "://" not in text
    assert "scripts/build lock" in text.splitlines()[1]


def test_both_ends_of_a_connection_have_the_same_versions() -> None:
    """Server, gate and trainer talk Flower to each other and must agree on arrays to the last bit."""
    locks = [pins(name) for name in ("server", "gate", "trainer-cpu", "trainer-gpu")]
    for package in ("flwr", "numpy", "safetensors", "protobuf", "pydantic"):
        assert len({lock[package] for lock in locks}) == 1, package


def test_torch_is_in_the_gpu_trainer_only() -> None:
    assert [name for name in ALL if "torch" in pins(name)] == ["trainer-gpu"]
