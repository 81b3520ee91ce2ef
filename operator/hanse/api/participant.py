"""The Participant: a data owner's identity, datasets and policy. Written by the owner in the owner's namespace."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hanse.api.conditions import Condition
from hanse.api.encryption import ModelRelease
from hanse.api.meta import (
    LABEL_KEY_PATTERN,
    LABEL_VALUE_PATTERN,
    MAP_BY_NAME,
    MAP_BY_TYPE,
    UNIQUE,
    ApiModel,
    Decimal,
    Message,
    NamespaceName,
    ObjectName,
    PositiveDecimal,
    ShortName,
)
from hanse.api.privacy import MAX_EPSILON, Adversary
from hanse.api.rules import Rule, between, unique, unique_names

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
#: Text with the wildcard *.
Glob = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=32)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN, max_length=317)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN, max_length=63)]
ResourceName = Annotated[str, Field(pattern=LABEL_KEY_PATTERN, max_length=317)]


_SUFFIXES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", start=1)
}


def parse_quantity(text: str) -> float:
    """The value of a Kubernetes quantity such as 500m or 2Gi."""
    number = text.rstrip("mkMGTKi")
    return float(number) * _SUFFIXES[text[len(number) :]]


class ClaimSource(ApiModel):
    """A PersistentVolumeClaim in the owner's own namespace."""

    claim_name: ObjectName = Field(description="Name of the claim, in the Participant's namespace.")


class DatasetSource(ApiModel):
    """Where the data is; mounted read-only."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!self.path.split('/').exists(part, part == '..')",
            message="path must stay inside the volume: remove `..`",
            holds=lambda s: ".." not in s.path.split("/"),
            field="path",
        ),
    )

    persistent_volume_claim: ClaimSource = Field(description="Claim that holds the data.")
    path: str = Field(
        min_length=1,
        max_length=512,
        pattern=r"^[^/].*$",
        description="File or directory in the volume, relative, without `..`.",
    )


class ColumnRange(ApiModel):
    """What values of a feature can be at most and at least: known without looking at the data."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="double(self.low) < double(self.high)",
            message="high must be greater than low: swap or correct them",
            holds=lambda r: float(r.low) < float(r.high),
            field="high",
        ),
    )

    low: Decimal = Field(description="Smallest value; smaller ones are clipped to it.")
    high: Decimal = Field(description="Largest value; larger ones are clipped to it.")


class DatasetSchema(ApiModel):
    """Which columns (CSV, Parquet) or arrays (npz) are what."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.features) || !(self.label in self.features)",
            message="features must not contain the label: remove it from the list",
            holds=lambda s: s.label not in s.features,
            field="features",
        ),
        Rule(
            cel="!has(self.id) || !has(self.features) || !(self.id in self.features)",
            message="features must not contain the id: remove it from the list",
            holds=lambda s: s.id is None or s.id not in s.features,
            field="features",
        ),
        Rule(
            cel="!has(self.id) || self.id != self.label",
            message="id must not be the label: name another column",
            holds=lambda s: s.id != s.label,
            field="id",
        ),
    )

    id: ColumnName | None = Field(default=None, description="Column that identifies a record; never a feature.")
    label: ColumnName = Field(description="Column (or array) that is predicted.")
    features: list[ColumnName] = Field(
        default_factory=list,
        max_length=4096,
        description="Columns (or one array) that predict; order matters.",
    )
    ranges: dict[ColumnName, ColumnRange] = Field(
        default_factory=dict,
        max_length=4096,
        description="Ranges of the features, by column: jobs with differential privacy scale and count by them.",
    )


class Dataset(ApiModel):
    """One dataset that jobs may ask for."""

    name: ShortName = Field(description="Name that jobs use, unique in this Participant.")
    source: DatasetSource = Field(description="Where the data is.")
    schema_: DatasetSchema | None = Field(
        default=None, alias="schema", description="What the columns are; built-in apps need it."
    )
    population: ShortName | None = Field(
        default=None,
        description="Whose people these are: the PrivacyBudget of this name, in this namespace, is charged; jobs "
        "without differential privacy are refused. Datasets that share people share it.",
    )
    records: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        description="Number of records, made public: jobs with differential privacy sample and weigh by it.",
    )


class ParticipantPolicy(ApiModel):
    """On what terms the owner takes part."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        unique("namespaces", "namespaces"),
        unique("images", "images"),
        unique("recordApps", "record_apps"),
        between("maxEpsilonPerJob", "max_epsilon_per_job", low="0.0", high=MAX_EPSILON, open_low=True),
    )

    namespaces: list[NamespaceName] = Field(
        default_factory=list,
        max_length=256,
        description="Namespaces whose jobs may use the datasets; empty means nobody's.",
        json_schema_extra=UNIQUE,
    )
    images: list[Glob] = Field(
        default_factory=list,
        max_length=64,
        description="Trainer images that may see the data, * is a wildcard; empty means any.",
        json_schema_extra=UNIQUE,
    )
    record_apps: list[Glob] = Field(
        default_factory=list,
        max_length=64,
        description="ClientApps trusted to clip each record for unit Record, * is a wildcard; empty means the "
        "platform's own.",
        json_schema_extra=UNIQUE,
    )
    max_epsilon_per_job: PositiveDecimal | None = Field(
        default=None, description="Largest epsilon of one job; without it what is left of the budget."
    )
    adversary: Adversary = Field(
        default="ServerAndOne",
        description="Against whom the budget is charged and maxEpsilonPerJob holds; Local noise is the same for all.",
    )
    require_encryption: bool = Field(
        default=False,
        description="Only jobs with spec.privacy.encryption: the server alone cannot read an update; together with "
        "another participant it can.",
    )
    min_participants: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Smallest number of updates that may become one model: a job's quorum is at least so large.",
    )
    model_release: ModelRelease = Field(
        default="Coordinator",
        description="Most that may get the plain model at the end: Never, Participants or Coordinator; the first two "
        "need encryption.",
    )


class Toleration(ApiModel):
    """As in a pod."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            message="value must be empty when operator is Exists: remove it or set operator to Equal",
            holds=lambda t: t.operator != "Exists" or not t.value,
            field="value",
        ),
        Rule(
            cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            message="operator must be Exists when key is empty: set it, or name the key",
            holds=lambda t: t.key is not None or t.operator == "Exists",
            field="operator",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds needs effect NoExecute: set it, or remove tolerationSeconds",
            holds=lambda t: t.toleration_seconds is None or t.effect == "NoExecute",
            field="tolerationSeconds",
        ),
    )

    key: LabelKey | None = Field(default=None, description="Taint key; without it all match, with operator Exists.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Exists or Equal.")
    value: LabelValue | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; empty matches all."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=31_536_000, description="For NoExecute: how long to stay."
    )


class Resources(ApiModel):
    """Requests and limits of the trainer's container."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "!has(self.limits) || !has(self.requests) || self.requests.all(k, !(k in self.limits) || "
                "quantity(self.requests[k]).compareTo(quantity(self.limits[k])) <= 0)"
            ),
            message="requests must not exceed limits: lower the request or raise the limit",
            holds=lambda r: all(
                parse_quantity(v) <= parse_quantity(r.limits[k]) for k, v in r.requests.items() if k in r.limits
            ),
            field="requests",
        ),
    )

    limits: dict[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="Limits, for example nvidia.com/gpu."
    )
    requests: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16, description="Requests.")


class PodTemplate(ApiModel):
    """The few pod fields that owners need."""

    queue_name: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        description="Kueue LocalQueue of the client Job.",
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Labels that the node must have."
    )
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32, description="Taints to tolerate.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the client pod.")
    resources: Resources = Field(default_factory=Resources, description="Resources of the trainer's container.")
    gate_resources: Resources = Field(
        default_factory=Resources,
        description="Resources of the gate's container; encrypted it takes up to 155 bytes of memory for a parameter.",
    )


class ModelsVolume(ApiModel):
    """Where models of jobs with modelRelease Participants go."""

    claim_name: ObjectName = Field(
        description="PersistentVolumeClaim in the Participant's namespace; mounted into gates alone."
    )


def _models_apart(spec: "ParticipantSpec") -> bool:
    claims = {d.source.persistent_volume_claim.claim_name for d in spec.datasets}
    return spec.models is None or spec.models.claim_name not in claims


def _one_population_a_claim(spec: "ParticipantSpec") -> bool:
    known: dict[str, str | None] = {}
    claims = ((d.source.persistent_volume_claim.claim_name, d.population) for d in spec.datasets)
    return all(known.setdefault(claim, population) == population for claim, population in claims)


class ParticipantSpec(ApiModel):
    """An identity, datasets and a policy; not a pod."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        unique_names("datasets", "datasets"),
        # The whole claim is mounted: an app that may read one of its files reads all of them.
        Rule(
            cel="self.datasets.all(a, !has(a.population) || self.datasets.all(b, "
            "a.source.persistentVolumeClaim.claimName != b.source.persistentVolumeClaim.claimName || "
            "(has(b.population) && a.population == b.population)))",
            message="datasets on one claim must have one population: a trainer sees the whole claim: put the others on "
            "a claim of their own",
            holds=_one_population_a_claim,
            field="datasets",
        ),
        Rule(
            cel="!has(self.models) || self.datasets.all(d, "
            "d.source.persistentVolumeClaim.claimName != self.models.claimName)",
            message="models.claimName must not be a dataset's claim: gates write there, and trainers read all of a "
            "dataset's claim: name another",
            holds=_models_apart,
            field="models",
        ),
    )

    organisation: str = Field(min_length=1, max_length=128, description="Name of the organisation, for people.")
    datasets: list[Dataset] = Field(
        min_length=1, max_length=64, description="Datasets; names are unique.", json_schema_extra=MAP_BY_NAME
    )
    policy: ParticipantPolicy = Field(
        default_factory=ParticipantPolicy, description="On what terms the owner takes part."
    )
    models: ModelsVolume | None = Field(
        default=None, description="Where the owner gets models of jobs with modelRelease Participants."
    )
    pod_template: PodTemplate = Field(default_factory=PodTemplate, description="Pod fields of the client pods.")

    def dataset(self, name: str) -> Dataset | None:
        """The dataset of that name, or None."""
        return next((d for d in self.datasets if d.name == name), None)


class DatasetStatus(ApiModel):
    """One dataset, as the operator sees it."""

    name: ShortName = Field(description="Name of the dataset.")
    available: bool = Field(description="Whether its claim exists.")
    message: Message = Field(default="", description="What is missing.")


class ParticipantStatus(ApiModel):
    """Written by the operator alone."""

    observed_generation: int | None = Field(default=None, ge=0, description="Generation that this status is about.")
    datasets: list[DatasetStatus] = Field(
        default_factory=list, max_length=64, description="Each dataset.", json_schema_extra=MAP_BY_NAME
    )
    identity: str | None = Field(
        default=None, max_length=1024, description="Public key of certificates and ledger (Ed25519, PEM)."
    )
    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, description="The truth, in conditions.", json_schema_extra=MAP_BY_TYPE
    )
