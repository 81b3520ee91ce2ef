"""Where a pod's files are. The operator mounts them there, the runtime reads them there.

`hanse run` gives each program a root of its own.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """All files of one pod below one root (`/` in a container)."""

    root: Path = Path("/")

    @property
    def config(self) -> Path:
        """Directory with run.json (server pod) or client.json (client pod)."""
        return self.root / "etc/hanse/config"

    @property
    def run_config(self) -> Path:
        return self.config / "run.json"

    @property
    def client_config(self) -> Path:
        return self.config / "client.json"

    @property
    def check_config(self) -> Path:
        """What the init container app-check gets in client.json's place."""
        return self.config / "check.json"

    @property
    def tls(self) -> Path:
        """ca.crt, tls.crt, tls.key; in the gate's container also node.key (SuperNode key, ECDSA P-384, PEM)."""
        return self.root / "etc/hanse/tls"

    @property
    def shared(self) -> Path:
        """emptyDir shared by the containers of the pod: sockets, SuperExec secret, hand-over files."""
        return self.root / "run/hanse"

    @property
    def state(self) -> Path:
        """The job's volume: SQLite, checkpoints, run history."""
        return self.root / "var/lib/hanse"

    @property
    def output(self) -> Path:
        """Where the model is written."""
        return self.root / "output"

    @property
    def data(self) -> Path:
        """The dataset's volume, read-only, in the trainer's container only."""
        return self.root / "data"

    @property
    def initial(self) -> Path:
        """The first model of a job whose gates make it themselves, without data: app-check writes it, the gate alone
        reads it."""
        return self.root / "var/lib/hanse-initial"

    @property
    def ledger(self) -> Path:
        """`hanse run` only: the owner's ledgers; in a pod the PrivacyBudget is the ledger."""
        return self.root / "var/lib/hanse-ledger"

    @property
    def ledger_access(self) -> Path:
        """token, ca.crt and namespace for the owner's PrivacyBudget; in the gate's container of a private job only."""
        return self.root / "var/run/secrets/hanse.dev/ledger"

    @property
    def identity_key(self) -> Path:
        """The owner's identity key (Ed25519, PEM); in the gate's container of a private or encrypted job only."""
        return self.root / "etc/hanse/identity/identity.key"

    @property
    def models(self) -> Path:
        """The owner's volume for models with modelRelease Participants, in the gate's container only; writable."""
        return self.root / "var/lib/hanse-models"

    @property
    def progress_token(self) -> Path:
        return self.root / "var/run/secrets/hanse.dev/progress/token"

    @property
    def operator_ca(self) -> Path:
        return self.root / "etc/hanse/operator-ca/ca.crt"

    @property
    def termination_log(self) -> Path:
        return self.root / "dev/termination-log"
