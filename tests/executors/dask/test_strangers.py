"""Dask workers that cannot have lanes: they say so, stay as they are, and are left out where others fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeframe_async import ConfigError, PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept, same

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

Made = Callable[..., DaskCluster]


def stranger(cluster: DaskCluster, name: str, folder: Path, source: str) -> None:
    """A worker that has another `pipeframe_async`."""
    (folder / name / "pipeframe_async").mkdir(parents=True)
    (folder / name / "pipeframe_async" / "__init__.py").write_text(source)
    path = os.pathsep.join([str(folder / name), *(path for path in sys.path if path)])
    cluster.start_worker(name, environment={"PYTHONPATH": path})
    cluster.joined(name)


async def test_workers_without_the_library_are_named_before_anything_starts_and_stay(own: Made, tmp_path: Path) -> None:
    from distributed import Client

    cluster = own(workers=0)
    stranger(cluster, "none", tmp_path, "raise ImportError('No module named pipeframe_async')")
    stranger(cluster, "old", tmp_path, "__version__ = '0.0.9'")
    with pytest.raises(ConfigError) as raised:
        await PipeFrame(executor=cluster.address).run(Kept(same), range(10))
    said = str(raised.value)
    assert "no Dask worker of this cluster can have lanes" in said
    assert "it does not have pipeframe_async (No module named pipeframe_async): pip install it there" in said
    assert "it has pipeframe_async 0.0.9, and this program" in said
    async with Client(cluster.tcp, asynchronous=True, set_as_default=False) as client:
        assert await client.submit(len, "abc") == 3
        assert len((await client.scheduler.identity())["workers"]) == 2


async def test_lanes_are_on_the_workers_that_fit(own: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster = own(workers=1)
    stranger(cluster, "old", tmp_path, "__version__ = '0.0.9'")
    frame, pipeline = PipeFrame(executor=cluster.address), Kept(same)
    async with frame:
        await frame.run(pipeline, range(500))
        assert pipeline.taken == list(range(500))
        assert len(frame.stats().workers) == 1
    assert "gets no lanes: it has pipeframe_async 0.0.9" in caplog.text
