"""The only package of the runtime (besides apps) that imports flwr. Everything it reaches into is pinned: 1.41.0."""
