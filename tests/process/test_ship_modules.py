"""`ship_modules`: what goes by value to workers that could import it does what it does otherwise."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async import PipeFrame, PipelineEngine

SOURCE = """
import sys
from dataclasses import dataclass
from own_shipped import inner

@dataclass
class Order:
    number: int
    place: str

def step(number):
    return Order(inner.times(number), type(sys.modules[__name__]).__name__), True

def numbered(order):
    return (isinstance(order, Order), order.number), True
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "own_shipped").mkdir()
    (tmp_path / "own_shipped" / "__init__.py").write_text("")
    (tmp_path / "own_shipped" / "inner.py").write_text("FACTOR = 3\ndef times(number): return FACTOR * number\n")
    (tmp_path / "own_shipped" / "steps.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_shipped.steps")
    for name in [name for name in sys.modules if name.startswith("own_shipped")]:
        del sys.modules[name]


@pytest.mark.process
@pytest.mark.parametrize(
    ("executor", "shipped", "place"),
    [
        ("processes", ["own_shipped"], "StandIn"),
        ("processes", [], "module"),
        ("threads", ["own_shipped"], "module"),
        ("inline", ["own_shipped"], "module"),
        ("auto", ["own_shipped"], "StandIn"),
    ],
)
async def test_steps_and_records_of_a_shipped_package_work_everywhere(
    own: Any, executor: str, shipped: list[str], place: str
) -> None:
    taken: list[Any] = []

    class Shipped(PipelineEngine[int, Any]):
        feed = range(20)
        steps = (own.step,)

        async def sink(self, records: list[Any]) -> None:
            taken.extend(records)

    class Read(Shipped):
        feed = [own.Order(number, "here") for number in range(5)]  # type: ignore[assignment]
        steps = (own.numbered,)

    frame = PipeFrame(1, executor=executor, ship_modules=shipped)
    async with frame:
        await frame.run(Shipped)
        assert taken[:20] == [own.Order(3 * number, place) for number in range(20)]
        await frame.run(Read)
        assert taken[20:] == [(True, number) for number in range(5)]
