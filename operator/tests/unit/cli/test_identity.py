"""`hanse identity create`: a Secret that gates can use, a public half that people can compare."""

import base64
from pathlib import Path

import pytest
import yaml

from hanse.api import names
from hanse.cli.errors import UsageError
from hanse.cli.identity import key_of, manifest
from hanse.pki.identity import identity_public_key, new_identity


def test_the_secret_is_the_one_that_gates_mount() -> None:
    made = new_identity()
    text = manifest("bank-a", made)
    secret = yaml.safe_load(text)
    assert (secret["kind"], secret["metadata"]["name"], secret["metadata"]["namespace"]) == (
        "Secret",
        names.OWNER_IDENTITY,
        "bank-a",
    )
    private = base64.b64decode(secret["data"][names.IDENTITY_FILE]).decode()
    assert identity_public_key(private) == made.public
    comments = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#")]
    assert set(made.public.strip().splitlines()) <= set(comments)
    assert "PRIVATE" not in "".join(comments)


def test_each_is_new_unless_there_is_a_file(tmp_path: Path) -> None:
    assert key_of(None).public != key_of(None).public
    mine = new_identity()
    (tmp_path / "mine.pem").write_text(mine.private)
    assert key_of(tmp_path / "mine.pem") == mine


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.pem").write_text(content)
    with pytest.raises(UsageError, match="no Ed25519 private key"):
        key_of(tmp_path / "key.pem")
    with pytest.raises(UsageError, match="no Ed25519 private key"):
        key_of(tmp_path / "none.pem")
