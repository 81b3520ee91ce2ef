"""The only code that talks to an API server: `Cluster`, a `hanse.controller.door.Door` over lightkube."""

from hanse.controller.cluster.client import Cluster

__all__ = ["Cluster"]
