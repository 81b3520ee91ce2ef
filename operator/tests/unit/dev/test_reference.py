"""The generated API reference: every field, condition, exit code and permission is in it."""

import re

import pytest

from hanse.api.exitcodes import REASONS
from hanse.api.rbac import TABLE
from hanse.dev.crds import KINDS, Kind
from hanse.dev.reference import CONDITIONS, reference

PAGE = reference()


def section(kind: Kind) -> str:
    return PAGE.split(f"## {kind.kind}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_and_condition_is_there(kind: Kind) -> None:
    for model in (kind.spec, kind.status):
        for info in model.model_fields.values():
            assert f"| `{info.alias}` |" in section(kind)
    assert all(f"`{condition.value}`" in section(kind) for condition in CONDITIONS[kind.kind])


def test_tables_have_the_same_number_of_cells_in_each_row() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_exit_codes_and_permissions_are_there() -> None:
    assert all(f"| {int(code)} | `{reason.value}` |" in PAGE for code, reason in REASONS.items())
    assert all(grant.why in PAGE for grant in TABLE)
