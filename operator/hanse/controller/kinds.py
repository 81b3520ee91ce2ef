"""The kinds that the operator touches: where the API server keeps them and which of their objects are ours to read."""

from dataclasses import dataclass
from typing import Final

from hanse.api import names


@dataclass(frozen=True)
class Kind:
    """One kind. `selector` limits lists and watches to the operator's own objects."""

    group: str
    version: str
    kind: str
    plural: str
    selector: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


_OURS: Final = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"

FEDERATED_JOB: Final = Kind(names.GROUP, names.VERSION, "FederatedJob", "federatedjobs")
PARTICIPANT: Final = Kind(names.GROUP, names.VERSION, "Participant", "participants")
PARTICIPATION: Final = Kind(names.GROUP, names.VERSION, "Participation", "participations")
PRIVACY_BUDGET: Final = Kind(names.GROUP, names.VERSION, "PrivacyBudget", "privacybudgets")
JOB: Final = Kind("batch", "v1", "Job", "jobs", _OURS)
POD: Final = Kind("", "v1", "Pod", "pods", _OURS)
SECRET: Final = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", _OURS)
SERVICE: Final = Kind("", "v1", "Service", "services")
CLAIM: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT: Final = Kind("", "v1", "Event", "events")

#: What kopf watches and a resync lists in every served namespace.
WATCHED: Final = (FEDERATED_JOB, PARTICIPANT, PARTICIPATION, PRIVACY_BUDGET, JOB, POD)
ALL: Final = (*WATCHED, SECRET, CONFIG_MAP, SERVICE, CLAIM, EVENT)

BY_NAME: Final = {kind.kind: kind for kind in ALL}
