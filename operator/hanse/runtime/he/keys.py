"""What is public of a key: its fingerprint. Called by gates and by the agreement."""


def fingerprint(key: bytes) -> str:
    """`sha256:…`, one-way (HKDF) and committing to the whole key material."""
    raise NotImplementedError
