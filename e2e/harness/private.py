"""Owners whose data has a privacy budget, and what jobs cost them: used by the tests of private jobs.

Data that was used under one budget counts there for ever, so each population of a session has data of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from e2e.harness import install, objects
from e2e.harness.federation import Federation
from e2e.harness.kube import Kube, Object, wait_until

RECORDS = 10
FILE = "numbers.csv"
DELTA = "1e-5"


@dataclass(frozen=True)
class Populations:
    """One Participant for each owner; for each population a claim, a dataset and a PrivacyBudget of its name."""

    kube: Kube
    owners: Sequence[str]
    participant: str
    names: Sequence[str]

    def budget(self, population: str, owner: str) -> Object:
        """The PrivacyBudget."""
        return self.kube.get("privacybudget", population, owner)

    def status(self, population: str, owner: str) -> Object:
        """The ledger; empty where nobody has written it yet."""
        found: Object = self.budget(population, owner).get("status", {})
        return found

    def columns(self, population: str, owner: str) -> dict[str, str]:
        """What `kubectl get privacybudgets` shows of one."""
        header, row = self.kube.run("get", "privacybudgets", population, "-n", owner).splitlines()
        return dict(zip(header.split(), row.split(), strict=True))

    def settled(self, population: str, owner: str, *, timeout: float = 60) -> Object:
        """The ledger once no account is open."""

        def look() -> Object | None:
            found = self.status(population, owner)
            return found if found.get("spent") and not found.get("accounts") else None

        return wait_until(f"no account of {owner}/{population} is open", look, timeout=timeout)

    def submit(
        self,
        federation: Federation,
        name: str,
        population: str,
        privacy: Object,
        *,
        owners: int = 2,
        encryption: Object | None = None,
        **spec: Any,
    ) -> Object:
        """A job of unit Silo on the population's data; `encryption` is what stands beside differentialPrivacy."""
        differential = {"unit": "Silo", "delta": DELTA, "clip": "1.0", **privacy}
        members = [
            {
                "name": owner,
                "participantRef": {"namespace": owner, "name": self.participant},
                "dataset": population,
            }
            for owner in self.owners[:owners]
        ]
        asked = {"differentialPrivacy": differential, **(encryption or {})}
        return federation.submit(name, [], participants=members, privacy=asked, **spec)

    def make_budget(self, population: str, owner: str, epsilon: str) -> None:
        """Create it."""
        self.kube.apply(_budget(population, owner, epsilon))

    def remove(self) -> None:
        """Delete what was made; what budgets leave stays, as it must."""
        for owner in self.owners:
            self.kube.delete("participant", self.participant, owner)
            for population in self.names:
                self.kube.delete("privacybudget", population, owner)
                self.kube.delete("job", f"load-{population}", owner, wait=False)
                self.kube.delete("persistentvolumeclaim", population, owner, wait=False)


def populations(kube: Kube, owners: Sequence[str], budgets: dict[str, str], trainer: str, scratch: Path) -> Populations:
    """Make them: `budgets` gives each population's epsilon; names get a suffix of this session's own."""
    suffix = uuid.uuid4().hex[:5]
    made = Populations(kube, owners, f"private-{suffix}", [f"{name}-{suffix}" for name in budgets])

    def load(place: tuple[str, str]) -> None:
        owner, name = place
        path = scratch / f"{owner}-{name}.csv"
        path.write_text("value\n" + "".join(f"{uuid.uuid4().int % 1000}\n" for _ in range(RECORDS)))
        install.load_data(kube, owner, name, {FILE: path}, trainer)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, product(owners, made.names)))
    for owner in owners:
        # A claim for each: a trainer sees the whole claim, so the API wants it so.
        datasets = [
            {**objects.dataset(name, name, FILE), "population": name, "records": RECORDS} for name in made.names
        ]
        kube.apply(objects.participant(made.participant, datasets, namespace=owner))
        for name, epsilon in zip(made.names, budgets.values(), strict=True):
            made.make_budget(name, owner, epsilon)
    return made


def _budget(name: str, namespace: str, epsilon: str) -> Object:
    return {
        "apiVersion": "hanse.dev/v1alpha1",
        "kind": "PrivacyBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"unit": "Silo", "epsilon": epsilon, "delta": DELTA},
    }
