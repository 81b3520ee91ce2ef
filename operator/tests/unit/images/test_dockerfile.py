"""The rules that every image keeps, read from images/Dockerfile."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
DOCKERFILE = ROOT / "images" / "Dockerfile"
IMAGES = ("operator", "server", "gate", "trainer-cpu", "trainer-gpu")


@dataclass
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]


def parse(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Global ARGs with their defaults, and the stages by name."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for step in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        instruction, _, value = step.partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stage is None:
            assert instruction == "ARG"
            arguments.update([value.split("=", 1)])
        else:
            stage.steps.append((instruction, " ".join(value.split())))
    return arguments, stages


ARGUMENTS, STAGES = parse(DOCKERFILE.read_text())


def ancestry(stage: Stage) -> list[Stage]:
    """The stage and those that it stands on, its own base last."""
    found = [stage]
    while found[-1].base in STAGES:
        found.append(STAGES[found[-1].base])
    return found


def test_the_base_is_the_only_image_from_outside_and_an_argument() -> None:
    assert ARGUMENTS == {"BASE": "debian:trixie-slim"}
    assert {stage.base for stage in STAGES.values()} - set(STAGES) == {"${BASE}"}


@pytest.mark.parametrize("name", IMAGES)
def test_runs_as_nobody_in_particular(name: str) -> None:
    assert STAGES[name].values("USER") == ["65532:65532"]
    user = [step for step, _ in STAGES[name].steps].index("USER")
    assert {step for step, _ in STAGES[name].steps[user:]} == {"USER", "WORKDIR"}


@pytest.mark.parametrize("name", IMAGES)
def test_says_what_it_is(name: str) -> None:
    (label,) = STAGES[name].values("LABEL")
    assert f'org.opencontainers.image.title="hanse/{name}"' in label
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in label


@pytest.mark.parametrize("name", IMAGES)
def test_flower_calls_nobody_and_only_tmp_is_written(name: str) -> None:
    (environment,) = STAGES["python"].values("ENV")
    assert STAGES["python"] in ancestry(STAGES[name])
    for setting in (
        "FLWR_TELEMETRY_ENABLED=0",
        "FLWR_DISABLE_UPDATE_CHECK=1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1",
        "HOME=/tmp",
        "PYTHONDONTWRITEBYTECODE=1",
    ):
        assert setting in environment.split()


@pytest.mark.parametrize("name", IMAGES)
def test_hanse_is_the_last_layer_so_that_code_costs_little(name: str) -> None:
    copies = STAGES[name].values("COPY")
    assert copies[-1] == "--from=wheel /out /opt/hanse/lib/python3.13/site-packages"
    steps = [step for step, _ in STAGES[name].steps]
    assert "RUN" not in steps[len(steps) - steps[::-1].index("COPY") :]


def test_stages_that_are_mounted_have_no_steps() -> None:
    """buildah 1.28 mounts a stage whose steps came from its cache as if it had none (docs/known-issues.md)."""
    mounted = set(re.findall(r"type=bind,from=([^,]+)", DOCKERFILE.read_text()))
    assert mounted == {"pip"}
    assert [STAGES[name].steps for name in mounted] == [[]]


@pytest.mark.parametrize("name", IMAGES)
def test_pip_and_the_build_tools_stay_behind(name: str) -> None:
    assert "builder" not in [stage.name for stage in ancestry(STAGES[name])]


def test_nothing_comes_from_an_address() -> None:
    text = DOCKERFILE.read_text() + (ROOT / "images" / "install-locked").read_text()
    assert not re.search(r"^ADD\b|https?://|\b(curl|wget|git clone)\b", text, re.MULTILINE)


def test_packages_of_the_index_are_installed_by_hash_only() -> None:
    text = (ROOT / "images" / "install-locked").read_text()
    installs = [line for line in re.sub(r"\\\n", " ", text).splitlines() if " install " in line]
    assert len(installs) == 1
    for flag in ("--no-deps", "--require-hashes", "--only-binary :all:"):
        assert flag in installs[0]


@pytest.mark.parametrize("stage", [stage for stage in STAGES.values() if stage.name != "builder"], ids=lambda s: s.name)
def test_debian_packages_leave_no_lists_behind(stage: Stage) -> None:
    for run in stage.values("RUN"):
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_the_build_context_holds_all_that_is_copied_and_little_else() -> None:
    rules = [
        line
        for line in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    allowed = tuple(rule[1:] for rule in rules if rule.startswith("!"))
    copied = [
        source
        for stage in STAGES.values()
        for copy in stage.values("COPY")
        if not copy.startswith("--from=")
        for source in copy.split()[:-1]
    ]
    assert [source for source in copied if not source.startswith(allowed)] == []
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_script_knows_the_images() -> None:
    listed = subprocess.run(
        ["bash", "-c", f". {ROOT}/scripts/lib/images.sh; echo $IMAGES_ALL; echo $IMAGES_DEFAULT"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert tuple(listed[0].split()) == IMAGES
    assert set(listed[1].split()) == set(IMAGES) - {"trainer-gpu"}
