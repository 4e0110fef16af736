"""A Dask cluster of real processes for all tests of this room that do it no harm, and others for those that do."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeframe_async import PipeFrame
from tests.executors.dask.cluster import DaskCluster, running
from tests.executors.dask.pipelines import Kept, same
from tests.real.servers import missing


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a cluster are asked for: they take minutes of a small machine."""
    for item in items:
        if {"cluster", "steady", "own"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")


@pytest.fixture(scope="session", params=[True, False], ids=["nanny", "no nanny"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers of a thread each, with a nanny and without."""
    _needed()
    with running(tmp_path_factory.mktemp("dask"), nanny=request.param) as found:
        _used(found)
        yield found


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers, of one kind: for what does not depend on that."""
    _needed()
    with running(tmp_path_factory.mktemp("dask-steady"), nanny=False) as found:
        _used(found)
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., DaskCluster]]:
    """Makes clusters for a test that breaks them."""
    _needed()
    with ExitStack() as stack:

        def made(*, nanny: bool = False, workers: int = 2, certificate: Path | None = None) -> DaskCluster:
            return stack.enter_context(running(tmp_path, nanny=nanny, workers=workers, certificate=certificate))

        yield made


def _used(cluster: DaskCluster) -> None:
    """What Dask workers keep for lanes from the first one on, and Dask for clients here, is no leak of a test."""
    asyncio.run(PipeFrame(executor=cluster.address).run(Kept(same), range(10)))


def _needed() -> None:
    if importlib.util.find_spec("distributed") is None:
        missing("distributed")
    import distributed.protocol  # noqa: F401 - what it opens for good is no leak of a test
