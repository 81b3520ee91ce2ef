"""Builders: pure functions `build_*` from decisions to manifests (dicts). Called by `reconcile` and `execute`."""
