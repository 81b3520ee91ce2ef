"""The operator's settings, read once from the environment. Every other module is handed what it needs of them."""

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from hanse.api.runconfig import SERVER_LOST_SECONDS


class Settings(BaseModel):
    """Environment variables are the field names in upper case; the chart sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator_namespace: str = Field(min_length=1, description="Where the operator runs and keeps the jobs' CA keys.")
    watch_namespaces: tuple[str, ...] = Field(default=(), description="Namespaces to serve; empty means all.")
    server_image: str = Field(min_length=1, description="Image of front, SuperLink and launcher.")
    gate_image: str = Field(min_length=1, description="Image of the gate.")
    allow_image_tags: bool = Field(default=False, description="Whether spec.app.image may be a tag.")
    server_lost_seconds: int = Field(
        default=SERVER_LOST_SECONDS, ge=10, description="After so long without their server client pods end themselves."
    )
    progress_url: str = Field(default="", description="Base URL of the progress endpoint, as the pods reach it.")
    service_name: str = Field(default="hanse-operator", description="Service in front of the progress endpoint.")
    bind_address: str = "0.0.0.0"  # noqa: S104 - kubelet, Prometheus and the launchers come from outside the pod
    progress_port: int = 8443
    metrics_port: int = 8080
    liveness_port: int = 8081
    resync_seconds: float = Field(default=30, gt=0)
    workers: int = Field(default=4, ge=1)
    log_level: str = "info"

    @property
    def clusterwide(self) -> bool:
        """Whether all namespaces are served."""
        return not self.watch_namespaces

    @property
    def progress_base(self) -> str:
        """URL below which `/v1/jobs/<namespace>/<name>/progress` is reached."""
        return self.progress_url or f"https://{self.service_name}.{self.operator_namespace}.svc:{self.progress_port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables that are set; unset ones keep their defaults.

        Raises:
            pydantic.ValidationError: with the names of what is missing or wrong.
        """
        values: dict[str, object] = {
            name: environment[name.upper()] for name in cls.model_fields if environment.get(name.upper())
        }
        namespaces = str(values.pop("watch_namespaces", "")).split(",")
        return cls.model_validate({**values, "watch_namespaces": tuple(n.strip() for n in namespaces if n.strip())})
