"""The Participant: a data owner's identity, datasets and policy. Written by the owner in the owner's namespace."""

from typing import Annotated, Literal

from pydantic import Field

from hanse.api.conditions import Condition
from hanse.api.meta import ApiModel, Message, NamespaceName, ObjectName, ShortName

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=32)]
ResourceName = Annotated[str, Field(max_length=253)]


class ClaimSource(ApiModel):
    """A PersistentVolumeClaim in the owner's own namespace."""

    claim_name: ObjectName = Field(description="Name of the claim, in the Participant's namespace.")


class DatasetSource(ApiModel):
    """Where the data is; mounted read-only."""

    persistent_volume_claim: ClaimSource = Field(description="Claim that holds the data.")
    path: str = Field(
        min_length=1,
        max_length=512,
        pattern=r"^[^/].*$",
        description="File or directory in the volume, relative, without `..`.",
    )


class DatasetSchema(ApiModel):
    """Which columns (CSV, Parquet) or arrays (npz) are what."""

    id: ColumnName | None = Field(default=None, description="Column that identifies a record; never a feature.")
    label: ColumnName = Field(description="Column (or array) that is predicted.")
    features: list[ColumnName] = Field(
        default_factory=list,
        max_length=4096,
        description="Columns (or one array) that predict; order matters.",
    )


class Dataset(ApiModel):
    """One dataset that jobs may ask for."""

    name: ShortName = Field(description="Name that jobs use, unique in this Participant.")
    source: DatasetSource = Field(description="Where the data is.")
    schema_: DatasetSchema | None = Field(
        default=None, alias="schema", description="What the columns are; built-in apps need it."
    )


class ParticipantPolicy(ApiModel):
    """On what terms the owner takes part."""

    namespaces: list[NamespaceName] = Field(
        default_factory=list,
        max_length=256,
        description="Namespaces whose jobs may use the datasets; empty means nobody's.",
    )


class Toleration(ApiModel):
    """As in a pod."""

    key: str | None = Field(default=None, max_length=316, description="Taint key; empty matches all with Exists.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Exists or Equal.")
    value: str | None = Field(default=None, max_length=63, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; empty matches all."
    )
    toleration_seconds: int | None = Field(default=None, ge=0, description="For NoExecute: how long to stay.")


class Resources(ApiModel):
    """Requests and limits of the trainer's container."""

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
    node_selector: dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=32, description="Labels that the node must have."
    )
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32, description="Taints to tolerate.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the client pod.")
    resources: Resources = Field(default_factory=Resources, description="Resources of the trainer's container.")


class ParticipantSpec(ApiModel):
    """An identity, datasets and a policy; not a pod."""

    organisation: str = Field(min_length=1, max_length=128, description="Name of the organisation, for people.")
    datasets: list[Dataset] = Field(min_length=1, max_length=64, description="Datasets; names are unique.")
    policy: ParticipantPolicy = Field(
        default_factory=ParticipantPolicy, description="On what terms the owner takes part."
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
    datasets: list[DatasetStatus] = Field(default_factory=list, max_length=64, description="Each dataset.")
    conditions: list[Condition] = Field(default_factory=list, max_length=8, description="The truth, in conditions.")
