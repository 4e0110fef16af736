"""A display is shown the books a few times a second, while the block runs and not longer."""

from __future__ import annotations

import asyncio

import pytest

from pipeframe_async._engine.watch import INTERVAL, watched

pytestmark = pytest.mark.virtual_clock


class Noted:
    """A display that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self) -> None:
        self.said.append("start")

    def update(self) -> None:
        self.said.append("update")

    def finish(self) -> None:
        self.said.append("finish")


async def test_it_appears_is_updated_and_goes() -> None:
    display = Noted()
    async with watched(display):
        await asyncio.sleep(3.5 * INTERVAL)
    assert display.said == ["start", "update", "update", "update", "finish"]


async def test_it_goes_also_where_the_block_fails() -> None:
    display = Noted()
    with pytest.raises(OSError, match="torn"):
        async with watched(display):
            raise OSError("torn")
    assert display.said == ["start", "finish"]


async def test_after_the_block_it_is_left_alone() -> None:
    display = Noted()
    async with watched(display):
        pass
    await asyncio.sleep(10 * INTERVAL)
    assert display.said[-1] == "finish"


async def test_without_a_display_there_is_no_task() -> None:
    async with watched(None):
        assert asyncio.all_tasks() == {asyncio.current_task()}
