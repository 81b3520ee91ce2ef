"""Keys and certificates: pure functions over `cryptography`, the time passed in. Called by `execute` and `progress`."""
