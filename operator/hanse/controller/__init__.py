"""The operator: handlers -> reconcile (pure) -> manifests (pure).

cluster/ is the only code that talks to the API server.
"""
