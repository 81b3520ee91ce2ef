"""kill -9 of the aggregator and of the key maker's gate in an encrypted `hanse run`: the model is the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.contract.cli.running import processes, start, until
from tests.contract.cli.test_encrypted_run import manifests

ROUNDS = 5
pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def kill(*words: str) -> None:
    """kill -9 of the one process of this run whose command line has all the words; roots are short links in TMPDIR."""
    # Worker processes have the same command line as the gate that they were forked from, and later numbers.
    os.kill(min(processes(os.environ["TMPDIR"], *words)), signal.SIGKILL)


def finish(process: subprocess.Popen[str], seen: str = "") -> str:
    text, _ = process.communicate()
    assert process.returncode == 0, seen + text
    return seen + text


def test_killed_aggregator_and_key_maker_change_nothing(workspace: Path) -> None:
    process = start(*manifests(workspace, rounds=ROUNDS, quorum=3))
    seen = until(process, f"round 1/{ROUNDS}")
    kill("hanse.runtime.flower.aggregator")
    seen += until(process, f"round 2/{ROUNDS}")
    kill("hanse.runtime.gate", "/g0 ")  # the first participant makes the key
    text = finish(process, seen)
    assert "resumed from the checkpoint (1)" in text
    assert "bank-a/gate ended with 137" in text
    for number in range(1, ROUNDS + 1):
        assert f"round {number}/{ROUNDS}  3 updates" in text
    disturbed = load_file(workspace / "out" / "model.safetensors")
    again = workspace / "again"
    again.mkdir()
    finish(start(*manifests(again, rounds=ROUNDS, quorum=3)))
    undisturbed = load_file(again / "out" / "model.safetensors")
    assert {name: array.tobytes() for name, array in disturbed.items()} == {
        name: array.tobytes() for name, array in undisturbed.items()
    }
