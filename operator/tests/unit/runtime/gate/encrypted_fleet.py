"""The gates of one encrypted job in memory, each with its files as a pod has them.

`Fleet` has the gates and their apps. `honest_server.Server` is the protocol done right.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hanse.api.aggregation import Aggregation
from hanse.api.compression import Compression
from hanse.api.encryption import EncryptingScheme, EncryptionPlan, ModelRelease, RosterMember
from hanse.api.paths import Paths
from hanse.api.privacy import PrivacyPlan
from hanse.api.runconfig import ClientConfig
from hanse.pki.identity import IdentityKey, new_identity
from hanse.runtime.agreement.roster import Roster, Signer
from hanse.runtime.gate.encrypted_workers import Workers
from tests.unit.runtime.gate import sample_job
from tests.unit.runtime.gate.encrypted_gate import HERE, Arrays, Gate, Train, step
from tests.unit.runtime.gate.sample_job import UID

NAMES = ("bank-a", "bank-b", "bank-c")
RECORDS = {"bank-a": 100, "bank-b": 60, "bank-c": 80}
MODEL = {"head": np.zeros(3, np.float32), "layer.weight": np.linspace(-1, 1, 40, dtype=np.float32).reshape(8, 5)}
SILO = PrivacyPlan(unit="Silo", adjacency="Replace", epsilon="100", delta="1e-5", clip="1", noise_multipliers=["5"] * 5)
RECORD = PrivacyPlan(
    unit="Record",
    adjacency="AddRemove",
    epsilon="100",
    delta="1e-5",
    clip="1",
    sample_rate="0.1",
    noise_multipliers=["5"] * 5,
)


class Fleet:
    """The participants of one job; `gate[name]` each."""

    def __init__(
        self,
        root: Path,
        *,
        privacy: PrivacyPlan | None = None,
        aggregation: Aggregation | None = None,
        scheme: EncryptingScheme = "BFV",
        members: Sequence[str] = NAMES,
        quorum: int = 2,
        collusion_threshold: int = 0,
        rounds: int = 5,
        model_release: ModelRelease = "Coordinator",
        model: Arrays | None = None,
        compression: Compression | None = None,
        train: Train = step,
        workers: Workers = HERE,
        **changes: Any,
    ) -> None:
        self.root, self.members, self.privacy = root, tuple(members), privacy
        self.aggregation = aggregation or Aggregation()
        self.compression, self.model = compression, MODEL if model is None else model
        self.identities: dict[str, IdentityKey] = {name: new_identity() for name in members}
        common = {"aggregation": self.aggregation, "compression": compression, **changes}
        bare = {name: self._config(name, common) for name in members}
        scale, mass = self._weights()
        self.plan = EncryptionPlan(
            scheme=scheme,
            key_maker=self.members[0],
            quorum=quorum,
            collusion_threshold=collusion_threshold,
            rounds=rounds,
            model_release=model_release,
            range="1" if privacy is None else None,
            terms=bare[self.members[0]].common_terms(),
            roster=[
                RosterMember(name=n, identity=self.identities[n].public, scale=scale[n], mass=mass[n]) for n in members
            ],
        )
        self.roster = Roster(self.plan, UID)
        self.gate: dict[str, Gate] = {}
        for name in members:
            config = bare[name].model_copy(update={"encryption": self.plan})
            self.gate[name] = Gate(name, config, Paths(root / name), train, workers)
            self._files(name, config)

    def signer(self, name: str) -> Signer:
        """What a participant can sign that does not follow the protocol."""
        return Signer(self.identities[name].private, name, self.roster.agreement)

    def close(self) -> None:
        """End the workers."""
        for gate in self.gate.values():
            gate.kill()

    def paid(self, name: str) -> list[str]:
        """Slots that the owner's ledger has."""
        gate = self.gate[name]
        return sample_job.paid(gate.paths, gate.config)

    def _records(self, name: str) -> int:
        return RECORDS.get(name, 50)

    def _weights(self) -> tuple[dict[str, str], dict[str, str]]:
        if self.privacy is not None and self.privacy.unit == "Record":
            batches = {n: self._plan(n).expected_batch for n in self.members}  # type: ignore[union-attr]
            return dict.fromkeys(self.members, "1"), {n: str(batch) for n, batch in batches.items()}
        most = max(self._records(n) for n in self.members)
        shares = {n: str(self._records(n) / most) for n in self.members}
        return shares, shares

    def _plan(self, name: str) -> PrivacyPlan | None:
        return None if self.privacy is None else self.privacy.for_owner(self._records(name), self.privacy.adversary)

    def _config(self, name: str, common: Mapping[str, Any]) -> ClientConfig:
        index, records = self.members.index(name), self._records(name)
        return sample_job.client_config(name, index, len(self.members), records, self._plan(name), **common)

    def _files(self, name: str, config: ClientConfig) -> None:
        paths = Paths(self.root / name)
        sample_job.write_identity(paths, self.identities[name])
        sample_job.write_initial(paths, self.model)
        paths.ledger.mkdir(parents=True)
        if config.privacy is not None:
            sample_job.reserve(paths, config)
