"""Modules that the client has and Dask workers lack: found out before a run, and three ways to have them there."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async import ConfigError, PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

Made = Callable[..., DaskCluster]

SOURCE = """
from dataclasses import dataclass

@dataclass
class Order:
    number: int
    done: bool = False

def step(number):
    return Order(number, done=FACTOR > 0), True

def numbered(order):
    return (type(order).__name__, order.number * FACTOR), True

FACTOR = 3
"""


@contextmanager
def only_here(folder: Path, name: str) -> Iterator[ModuleType]:
    """A module on this program's path, and on no worker's."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


async def test_a_module_that_workers_lack_is_named_before_the_run_with_what_to_do(
    steady: DaskCluster, tmp_path: Path
) -> None:
    fed: list[int] = []

    def feed() -> Iterator[int]:
        for number in range(10):
            fed.append(number)
            yield number

    with only_here(tmp_path / "mine", "orders_only_here") as module:
        async with PipeFrame(executor=steady.address) as frame:
            for attempt in (
                lambda: frame.run(Kept(module.step), feed),
                lambda: frame.ready(Kept(module.step)),
                lambda: frame.call(Kept(module.step), 3),
            ):
                with pytest.raises(ConfigError) as raised:
                    await attempt()
                said = str(raised.value)
                assert "no Dask worker with lanes has the module 'orders_only_here':" in said
                assert said.count("it does not have the module 'orders_only_here', which steps name") == 2
                assert "install it there, upload it by client.upload_file(" in said
                assert "PipeFrame(ship_modules=['orders_only_here'])" in said
            assert fed == []
            assert (await frame.run(Kept(lambda number: (number, True)), range(3))).delivered == 3


@pytest.mark.parametrize("by_name", [True, False], ids=["name", "module"])
async def test_a_module_that_is_shipped_need_not_be_there(steady: DaskCluster, tmp_path: Path, by_name: bool) -> None:
    name = f"orders_shipped_{by_name}"
    with only_here(tmp_path / "mine", name) as module:
        pipeline = Kept(module.step)
        frame = PipeFrame(executor=steady.address, ship_modules=[name if by_name else module])
        await frame.run(pipeline, range(50))
        assert pipeline.taken == [module.Order(number, done=True) for number in range(50)]
        again = Kept(module.numbered)
        await frame.run(again, [*pipeline.taken])
        assert again.taken == [("Order", 3 * number) for number in range(50)]


async def test_a_module_that_was_uploaded_is_there(steady: DaskCluster, tmp_path: Path) -> None:
    from distributed import Client

    with only_here(tmp_path / "mine", "orders_uploaded") as module:
        async with PipeFrame(executor=steady.address) as frame:
            with pytest.raises(ConfigError):
                await frame.run(Kept(module.step), range(3))
            async with Client(steady.tcp, asynchronous=True, set_as_default=False) as client:
                await client.upload_file(str(tmp_path / "mine" / "orders_uploaded.py"))
            pipeline = Kept(module.step)
            await frame.run(pipeline, range(50))
            assert pipeline.taken == [module.Order(number, done=True) for number in range(50)]


async def test_lanes_are_on_the_workers_that_have_the_module_also_later(
    own: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = own(workers=1)
    path = os.pathsep.join([str(tmp_path / "mine"), *(path for path in sys.path if path)])
    with only_here(tmp_path / "mine", "orders_half_there") as module:
        cluster.start_worker("has", environment={"PYTHONPATH": path})
        cluster.joined("has")
        async with PipeFrame(executor=cluster.address) as frame:
            for _ in range(2):
                pipeline = Kept(module.step, batch_size=4)
                report = await frame.run(pipeline, range(100))
                assert pipeline.taken == [module.Order(number, done=True) for number in range(100)]
                assert (report.failed, report.re_executed) == (0, 0)
            assert places(frame) == 1
            cluster.start_worker(
                "more", environment={"PYTHONPATH": os.pathsep.join(path for path in sys.path[1:] if path)}
            )
            cluster.joined("more")
            await frame.run(Kept(module.step), range(3_000))
            assert places(frame) == 1
    said = "gets no lanes: it does not have the module 'orders_half_there', which steps name"
    assert said in caplog.text


def places(frame: PipeFrame) -> int:
    """Lanes that have one."""
    found: list[Any] = [worker for worker in frame.stats().workers if " on " in worker.name]
    return len(found)
