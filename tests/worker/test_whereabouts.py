"""Where code stands in a pipeline is read off its stack: the step, the record's index, the feed where it is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeframe_async._worker.chain import Chain
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async._worker.whereabouts import Whereabouts, placed, whereabouts
from pipeframe_async.wire import ChainSpec

said: list[Whereabouts | None] = []


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    said.clear()
    yield
    said.clear()


def say(record: Any) -> tuple[Any, bool]:
    said.append(whereabouts())
    return record, True


def deep(record: Any) -> tuple[Any, bool]:
    def down(depth: int) -> None:
        down(depth - 1) if depth else say(record)

    down(20)
    return record, True


def fan_out(record: Any) -> Iterator[tuple[Any, bool]]:
    for _ in range(2):
        say(record)
        yield record, True


def plain(record: Any) -> Any:
    said.append(whereabouts())
    return [record, True][0], True


def chain(*steps: Callable[[Any], Any], pipeline: Any = None) -> Chain:
    names = tuple(step.__name__ for step in steps)
    made = Chain(ChainSpec(names, steps, pipeline, pipeline_name="Orders"))
    made.setup()
    return made


def ran(made: Chain, records: int) -> list[tuple[str | None, int | None]]:
    made.run([*range(records)], Cursor().cells)
    assert all(at is not None and at.pipeline == "Orders" for at in said)
    return [(at.step, at.at) for at in said if at is not None]


def test_outside_of_steps_it_is_nowhere() -> None:
    assert whereabouts() is None


def test_each_step_and_each_record_are_told_in_loops_that_time_and_those_that_do_not() -> None:
    made = chain(say, plain)
    for _ in range(3):  # the first times all of them, later ones some
        said.clear()
        assert ran(made, 50) == [(step, at) for at in range(50) for step in ("say", "plain")]


def test_a_function_that_a_step_calls_is_in_that_step() -> None:
    assert ran(chain(plain, deep), 2) == [("plain", 0), ("deep", 0), ("plain", 1), ("deep", 1)]


def test_a_generator_and_what_its_children_go_through_are_told_apart() -> None:
    told = ran(chain(fan_out, plain), 2)
    assert told == [(step, at) for at in range(2) for step in ("fan_out", "plain") * 2]


def test_setup_and_teardown_stand_for_a_step() -> None:
    class Hooks:
        setup = teardown = staticmethod(lambda: said.append(whereabouts()))

    made = chain(plain, pipeline=Hooks())
    made.teardown()
    assert said == [Whereabouts("Orders", "setup", None), Whereabouts("Orders", "teardown", None)]


def test_who_has_placed_the_work_is_told_too() -> None:
    placed(range(100, 110), "the loop", chain(plain).run, [0, 1], Cursor().cells)
    assert said == [Whereabouts("Orders", "plain", at, range(100, 110), "the loop") for at in range(2)]
    said.clear()
    placed(None, "", chain(plain).run, [0], Cursor().cells)
    assert said == [Whereabouts("Orders", "plain", 0, None, threading.current_thread().name)]


def test_in_a_thread_of_a_step_nothing_is_known() -> None:
    def begins(record: Any) -> tuple[Any, bool]:
        thread = threading.Thread(target=say, args=(record,))
        thread.start()
        thread.join()
        return record, True

    chain(begins).run([1], Cursor().cells)
    assert said == [None]
