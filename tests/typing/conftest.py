"""The type checkers, each in its turn."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.typing.checkers import CHECKERS, Checker


@pytest.fixture(params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> Checker:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} comes with the dev extra, and .ci/run has it")
    return CHECKERS[request.param]
