"""An executor of Dask's that is given: its client's lanes are used, not its tasks."""

from __future__ import annotations

import pytest
from distributed import Client

from pipeframe_async import ConfigError, PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept, bad


async def test_a_poison_record_of_an_executor_of_dasks_costs_itself(steady: DaskCluster) -> None:
    async with Client(steady.tcp, asynchronous=True, set_as_default=False) as client:
        pipeline = Kept(bad, max_failures=None)
        report = await PipeFrame(executor=client.get_executor(pure=False)).run(pipeline, range(100))
        assert len((await client.scheduler.identity())["workers"]) == 2
    assert sorted(failure.record for failure in pipeline.dead) == [7, 50, 90]
    assert (report.fed, report.failed, report.aborted) == (100, 3, 0)


async def test_one_that_is_kept_to_some_workers_is_refused(steady: DaskCluster) -> None:
    async with Client(steady.tcp, asynchronous=True, set_as_default=False) as client:
        with pytest.raises(ConfigError, match=r"kept to some of the workers \(resources=, workers=\)"):
            PipeFrame(executor=client.get_executor(workers=["w0"], resources={"GPU": 1}))
