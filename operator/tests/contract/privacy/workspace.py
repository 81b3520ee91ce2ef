"""A private job of two banks for `hanse run`, and what it leaves: output, status, ledgers."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.contract.cli.running import run_directory
from tests.unit.cli.samples import IMAGE, job, participant, write

ROOT = Path(__file__).resolve().parents[3]
APPS = Path(__file__).parent / "apps"
PRIVACY = {"unit": "Silo", "epsilon": "3", "delta": "1e-5", "clip": "1.0"}


def budget(letter: str, epsilon: str = "10", unit: str = "Silo") -> dict[str, Any]:
    """The PrivacyBudget of one bank's borrowers."""
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "PrivacyBudget",
        "metadata": {"name": "borrowers", "namespace": f"bank-{letter}"},
        "spec": {"unit": unit, "epsilon": epsilon, "delta": "1e-5"},
    }


@dataclass(frozen=True)
class Workspace:
    """A directory with manifests, data, ledgers and output."""

    path: Path

    def manifests(
        self,
        *,
        config: dict[str, str] | None = None,
        privacy: dict[str, Any] | None = None,
        epsilon: str = "10",
        unit: str = "Silo",
        app: dict[str, Any] | None = None,
        **spec: Any,
    ) -> list[str]:
        """Arguments of `hanse run`."""
        chosen = {"image": IMAGE, "clientApp": "hostile:app", "config": config or {}, **(app or {})}
        private = {"differentialPrivacy": PRIVACY | (privacy or {})}
        objects = [job(app=chosen, privacy=private, **({"rounds": 2} | spec))]
        for letter in "ab":
            source = {"persistentVolumeClaim": {"claimName": "loans"}, "path": "loans.csv"}
            dataset = {"name": "loans", "source": source, "population": "borrowers", "records": 10}
            policy = {"namespaces": ["consortium"], "recordApps": ["hostile:app"]}
            objects += [participant(letter, datasets=[dataset], policy=policy), budget(letter, epsilon, unit)]
            (self.path / f"{letter}.csv").write_text(f"id,default,age\n1,0,{ord(letter)}\n")
        write(self.path / "job.yaml", *objects)
        data = [f"--data=bank-{x}/loans={self.path}/{x}.csv" for x in "ab"]
        ledger = f"--ledger={self.path / 'ledger'}"
        return ["run", str(self.path / "job.yaml"), *data, "--output", str(self.path / "out"), ledger, f"--app={APPS}"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`hanse` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "hanse.cli.main", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "240"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @property
    def kept(self) -> Path:
        """The run directory."""
        return run_directory(self.path)

    def log(self, name: str) -> str:
        """Of one program."""
        return (self.kept / "logs" / f"{name}.log").read_text()

    def ledger(self, letter: str) -> list[dict[str, Any]]:
        """The lines of a bank's ledger."""
        text = (self.path / "ledger" / f"bank-{letter}" / "borrowers" / "ledger.jsonl").read_text()
        return [yaml.safe_load(line) for line in text.splitlines()]

    def charges(self, letter: str) -> list[str]:
        """Slots that were paid, in order."""
        return [line["slot"] for line in map(_event, self.ledger(letter)) if line.get("event") == "charge"]


def _event(line: dict[str, Any]) -> dict[str, Any]:
    found = line.get("body", line)
    return found if isinstance(found, dict) else line
