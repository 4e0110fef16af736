"""What is shared, on a cluster: read by lanes on the program's own host, and refused on others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from pipeframe_async import PipeFrame, StepError, share, unnamed
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept
from tests.real.servers import missing

pytestmark = [
    pytest.mark.process,
    pytest.mark.one_loop,
    pytest.mark.skipif(not unnamed.can_be_found(), reason="needs /proc"),
]

ANOTHER_CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""What a command is run by, so that it has process numbers of its own."""


def looking_up(table: Any) -> Kept:
    """A pipeline whose step has a handle, and says whether it may write to what it reads."""
    handle = share(table)

    def look_up(number: int) -> Any:
        return (int(handle.value[number]), handle.value.flags.writeable, os.getpid()), True

    return Kept(look_up)


async def test_lanes_on_the_programs_host_map_it(steady: DaskCluster) -> None:
    numpy = pytest.importorskip("numpy")
    pipeline = looking_up(numpy.arange(100) * 2)
    await PipeFrame(executor=steady.address).run(pipeline, range(100))
    assert [found for found, *_ in pipeline.taken] == [*range(0, 200, 2)]
    assert {writeable for _, writeable, _ in pipeline.taken} == {False}
    assert os.getpid() not in {pid for *_, pid in pipeline.taken}


@pytest.fixture
def contained(own: Callable[..., DaskCluster]) -> DaskCluster:
    """One worker, in another container than the program."""
    if subprocess.run([*ANOTHER_CONTAINER, "true"], capture_output=True).returncode:
        missing("right to make a namespace of processes (CAP_SYS_ADMIN)")
    cluster = own(workers=0)
    cluster.start_worker("contained", before=ANOTHER_CONTAINER)
    cluster.joined("contained")
    return cluster


async def test_where_its_memory_is_out_of_reach_that_is_said_with_what_to_do(contained: DaskCluster) -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(StepError, match=r"different hosts, or in different containers. Load it in setup\(self\)"):
        await PipeFrame(executor=contained.address).run(looking_up(numpy.arange(10)), range(10))
