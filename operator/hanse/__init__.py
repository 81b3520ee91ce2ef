"""Hanse: federated learning that the data owner controls, on Kubernetes."""

__version__ = "0.1.0"
