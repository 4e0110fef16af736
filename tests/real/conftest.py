"""Servers, one of a kind for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.servers import Server, redis_server, running


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    """Redis, or what there is in its place."""
    with running("redis", redis_server) as server:
        yield server
