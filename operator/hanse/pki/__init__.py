"""Keys and certificates: pure functions over `cryptography`, the time passed in.

Called by the operator, by `hanse run` and by the cluster that the tests make. Imports nothing of ours.
"""
