"""Generators: CRDs, the chart's RBAC, the API reference."""
