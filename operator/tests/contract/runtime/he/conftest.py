"""Each engine with its keys, as fixtures."""

import pytest

from tests.contract.runtime.he.engines import ENCRYPTING, ENGINES, Keyed, keyed_engine


@pytest.fixture(params=ENGINES)
def keyed(request: pytest.FixtureRequest) -> Keyed:
    return keyed_engine(request.param)


@pytest.fixture(params=ENCRYPTING)
def encrypting(request: pytest.FixtureRequest) -> Keyed:
    return keyed_engine(request.param)
