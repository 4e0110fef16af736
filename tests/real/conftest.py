"""Servers, one of a kind for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import obstore
import pytest
from obstore.store import MemoryStore

from tests.real.servers import (
    Server,
    kafka_server,
    nats_server,
    postgres_server,
    redis_server,
    running,
    s3_server,
)


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    """Redis, or what there is in its place."""
    with running("redis", redis_server) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL."""
    with running("postgres", postgres_server) as server:
        yield server


@pytest.fixture(scope="session")
def nats() -> Iterator[Server]:
    """NATS, with JetStream."""
    with running("nats", nats_server) as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    """What stands for S3."""
    obstore.put(MemoryStore(), "begin", b"")  # the client's own threads and descriptors, which stay for good
    with running("s3", s3_server) as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Server]:
    """librdkafka's mock cluster."""
    with running("kafka", kafka_server) as server:
        yield server
