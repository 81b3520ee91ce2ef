"""A rig for each test of a policy."""

import pytest

from tests.unit.controller.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
