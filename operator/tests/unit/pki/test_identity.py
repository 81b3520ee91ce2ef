"""The owner's identity key."""

import pytest

from hanse.pki import identity, nodekeys


def test_what_was_signed_verifies_and_nothing_else() -> None:
    key = identity.new_identity()
    signature = identity.sign(key.private, b"statement")
    assert identity.verifies(key.public, signature, b"statement")
    assert not identity.verifies(key.public, signature, b"another statement")
    assert not identity.verifies(identity.new_identity().public, signature, b"statement")


def test_the_public_half_is_found_again() -> None:
    key = identity.new_identity()
    assert identity.identity_public_key(key.private) == key.public


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA"])
def test_no_signature_is_no_error(signature: str) -> None:
    assert not identity.verifies(identity.new_identity().public, signature, b"")
    assert not identity.verifies("no key", signature, b"")
    unknown = identity.new_identity().public.replace("MCowBQYDK2Vw", "MCowBQYDK3Vw")  # an algorithm of nobody's
    assert not identity.verifies(unknown, signature, b"")


def test_another_kind_of_key_signs_nothing() -> None:
    other = nodekeys.new_node_key()
    with pytest.raises(ValueError):
        identity.sign(other.private, b"")
    assert not identity.verifies(other.public, "AAAA", b"")


def test_no_log_shows_the_key() -> None:
    assert "PRIVATE" not in repr(identity.new_identity())
