"""The config files that the operator (or `hanse run`) mounts into the pods.

The runtime reads them as run.json, client.json and check.json.
"""

from typing import Literal

from pydantic import Field

from hanse.api.commonterms import common_terms
from hanse.api.compression import Compression
from hanse.api.encryption import EncryptionPlan
from hanse.api.job import (
    MAX_PARTICIPANTS,
    Aggregation,
    AppPath,
    ArrayGlob,
    ConfigKey,
    ConfigValue,
    FederatedJobSpec,
    ImageRef,
    OnDropout,
    StopRule,
)
from hanse.api.meta import ApiModel, ShortName
from hanse.api.participant import DatasetSchema
from hanse.api.participation import JobRef
from hanse.api.privacy import PrivacyPlan

SERVER_LOST_SECONDS = 300
MAX_MESSAGE_BYTES = 2 << 30


class ServerParticipant(ApiModel):
    """A participant whose SuperNode the launcher registers."""

    name: ShortName
    index: int = Field(ge=0, lt=MAX_PARTICIPANTS)
    public_key: str = Field(max_length=1024, description="SuperNode public key, PEM (ECDSA P-384).")
    records: int | None = Field(default=None, ge=1, description="Declared number of records.")
    expected_batch: int | None = Field(default=None, ge=1, description="Unit Record only: as in its plan.")
    plan_hash: str = Field(default="", max_length=80, description="planHash of its Participation.")


class ProgressTarget(ApiModel):
    """Where the launcher pushes progress: HTTPS, the token and CA files are in `Paths`."""

    url: str = Field(max_length=512)


class RunConfig(ApiModel):
    """run.json: all that the server pod needs to know."""

    job: JobRef
    client_app: AppPath
    server_app: AppPath | None = None
    config: dict[ConfigKey, ConfigValue] = Field(default_factory=dict)
    participants: list[ServerParticipant] = Field(min_length=1, max_length=MAX_PARTICIPANTS)
    quorum: int = Field(ge=1)
    rounds: int = Field(ge=1)
    start_timeout_seconds: int = Field(default=300, ge=1)
    round_timeout_seconds: int = Field(default=600, ge=1)
    on_dropout: OnDropout = "SkipRound"
    stop_when: list[StopRule] = Field(default_factory=list)
    aggregation: Aggregation = Field(default_factory=Aggregation)
    checkpoint_every_rounds: int = Field(default=1, ge=1)
    backoff_limit: int = Field(default=3, ge=0)
    output_path: str = Field(
        default="model.safetensors", max_length=256, description="Model file, relative to Paths.output."
    )
    privacy: PrivacyPlan | None = Field(default=None, description="Without expected_batch: see participants.")
    encryption: EncryptionPlan | None = None
    compression: Compression | None = None
    personal_layers: list[ArrayGlob] = Field(default_factory=list)
    progress: ProgressTarget | None = None
    server_port: int = Field(default=9443, description="Port of the front.")
    superlink_port: int = Field(default=8000, description="Loopback port of the SuperLink.")

    @classmethod
    def from_spec(
        cls, spec: FederatedJobSpec, job: JobRef, participants: list[ServerParticipant], *, output_path: str
    ) -> "RunConfig":
        """What `spec` says about a run; progress and ports are set by who starts it."""
        return cls(
            job=job,
            client_app=spec.app.client_app,
            server_app=spec.app.server_app,
            config=spec.app.config,
            participants=participants,
            quorum=spec.effective_quorum,
            rounds=spec.rounds,
            start_timeout_seconds=spec.start_timeout_seconds,
            round_timeout_seconds=spec.round_timeout_seconds,
            on_dropout=spec.on_dropout,
            stop_when=spec.stop_when,
            aggregation=spec.aggregation,
            compression=spec.compression,
            personal_layers=spec.app.personal_layers,
            checkpoint_every_rounds=spec.checkpoint.every_rounds,
            backoff_limit=spec.backoff_limit,
            output_path=output_path,
        )


class ClientDataset(ApiModel):
    """The dataset in the trainer's container: `path` is relative to `Paths.data`."""

    name: ShortName
    path: str = Field(max_length=512)
    records: int | None = Field(default=None, ge=1, description="Declared number of records.")
    schema_: DatasetSchema | None = Field(default=None, alias="schema")


class InitialConfig(ApiModel):
    """What gates make the first model from themselves, without data: columns and ranges as the owner published."""

    seed: int = Field(default=0, ge=0)
    participants: int = Field(ge=1)
    config: dict[ConfigKey, ConfigValue] = Field(default_factory=dict)
    schema_: DatasetSchema | None = Field(default=None, alias="schema")
    privacy: PrivacyPlan | None = Field(
        default=None, description="That its noise fits the model is said before anything else starts."
    )
    encryption: EncryptionPlan | None = Field(default=None, description="The same of its lanes.")
    compression: Compression | None = None
    personal_layers: list[ArrayGlob] = Field(default_factory=list)


class CheckConfig(ApiModel):
    """check.json: all that the app may read where its words may leave the owner's namespace.

    Nothing of it is the owner's but, in a private job, columns and counts that the server is told anyway.
    """

    client_app: AppPath
    initial: InitialConfig | None = Field(default=None, description="Private and encrypted jobs: make the first model.")


class ClientConfig(ApiModel):
    """client.json: all that gate and trainer of one participant need to know; no key, no token."""

    job: JobRef
    participant: ShortName
    index: int = Field(ge=0)
    participants: int = Field(ge=1)
    server_address: str = Field(max_length=320, description="host:port of the front.")
    client_app: AppPath
    config: dict[ConfigKey, ConfigValue] = Field(default_factory=dict)
    dataset: ClientDataset
    server_lost_seconds: int = Field(default=SERVER_LOST_SECONDS, ge=1)
    max_message_bytes: int = Field(
        default=MAX_MESSAGE_BYTES,
        ge=1,
        description="What the gate takes from the trainer for one message: the reply with the app's Context.state.",
    )
    plan_hash: str = Field(default="", max_length=80, description="planHash of the Participation.")
    privacy: PrivacyPlan | None = None
    encryption: EncryptionPlan | None = None
    population: ShortName | None = Field(default=None, description="PrivacyBudget that is charged.")
    compression: Compression | None = None
    personal_layers: list[ArrayGlob] = Field(default_factory=list)
    initial_seed: int | None = Field(default=None, ge=0)
    aggregation: Aggregation = Field(default_factory=Aggregation, description="How far the server's model may step.")
    smallest_batch: int | None = Field(default=None, ge=1, description="Unit Record: smallest of any participant.")
    gate_image: ImageRef | None = Field(default=None, description="For the certificate; `hanse run` has no images.")
    trainer_image: ImageRef | None = Field(default=None, description="The same of the trainer.")
    ledger: Literal["Kubernetes", "File"] = Field(
        default="Kubernetes", description="Kubernetes: the PrivacyBudget. File: Paths.ledger, of `hanse run`."
    )

    def check(self) -> CheckConfig:
        """check.json of the same participant."""
        if self.privacy is None and self.encryption is None:
            return CheckConfig(client_app=self.client_app)
        initial = InitialConfig(
            seed=self.initial_seed or 0,
            privacy=self.privacy,
            encryption=self.encryption,
            compression=self.compression,
            personal_layers=self.personal_layers,
            participants=self.participants,
            config=self.config,
            schema_=self.dataset.schema_,
        )
        return CheckConfig(client_app=self.client_app, initial=initial)

    def common_terms(self) -> str:
        """What `encryption.terms` must be: the gate computes it of all that it acts on, so that all act on the same."""
        return common_terms(
            images=(self.gate_image, self.trainer_image),
            client_app=self.client_app,
            config=self.config,
            personal_layers=self.personal_layers,
            initial_seed=self.initial_seed,
            aggregation=self.aggregation,
            compression=self.compression,
            privacy=self.privacy,
            smallest_batch=self.smallest_batch,
        )
