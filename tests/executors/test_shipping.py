"""A chain to bytes: the same bytes for the same chain, and blame where there are none."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeframe_async._worker import making
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.shipping import ship
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.steps import apply, expand, keep_if, step_name
from pipeframe_async.wire import ChainRef, ChainSpec


def parse(line: str) -> tuple[int, bool]:
    return int(line), True


class Counting(PipelineEngine[Any, Any]):
    def __init__(self, held: object = None) -> None:
        self.held = held

    def count(self, record: int) -> tuple[int, bool]:
        return record + 1, True

    def setup(self) -> None:
        self.ready = True


class Doubling:
    def __call__(self, record: int) -> tuple[int, bool]:
        return record * 2, True


def spec(*steps: Callable[..., Any], pipeline: Any = None) -> ChainSpec:
    return ChainSpec(tuple(map(step_name, steps)), steps, pipeline, pipeline_name=type(pipeline).__name__)


def loaded(ref: ChainRef) -> ChainSpec:
    assert ref.data is not None
    return ChainSpec(*making.load(ref.data, making.standins_for(ref.data)))


def closure(by: int) -> Callable[[int], tuple[int, bool]]:
    return lambda record: (record + by, True)


def power(record: int, exponent: int) -> tuple[int, bool]:
    return record**exponent, True


@pytest.mark.parametrize(
    ("step", "record", "result"),
    [
        (parse, "7", (7, True)),
        (lambda record: (record, False), 7, (7, False)),
        (closure(3), 7, (10, True)),
        (functools.partial(power, exponent=2), 7, (49, True)),
        (Doubling(), 7, (14, True)),
        (Counting().count, 7, (8, True)),
        (apply(int), "7", (7, True)),
        (apply(lambda record: record + 1), 7, (8, True)),
        (keep_if(bool), 7, (7, True)),
    ],
)
def test_a_step_of_any_make_arrives_and_works(step: Callable[..., Any], record: Any, result: Any) -> None:
    arrived = loaded(ship(spec(step)))
    assert arrived.names == (step_name(step),)
    assert arrived.steps[0](record) == result


def test_an_expanding_step_arrives_and_works() -> None:
    (step,) = loaded(ship(spec(expand(str.split)))).steps
    assert list(step("a b")) == [("a", True), ("b", True)]


def test_what_can_be_imported_goes_by_reference() -> None:
    assert loaded(ship(spec(parse))).steps[0] is parse


def test_the_modules_that_a_chain_names_are_known_and_those_that_go_along_are_not_among_them() -> None:
    assert ship(spec(parse, closure(3), apply(json.loads))).modules == {__name__}
    assert ship(spec(closure(3))).modules == frozenset()
    sent = ship(spec(parse)._replace(by_value=frozenset({__name__})))
    assert sent.modules == frozenset()
    assert sent.data is not None
    assert b"parse" in sent.data
    assert sent.key != ship(spec(parse)).key
    assert loaded(sent).by_value == frozenset()


def test_a_method_arrives_bound_to_the_pipeline_that_is_set_up() -> None:
    pipeline = Counting()
    arrived = loaded(ship(spec(pipeline.count, pipeline=pipeline)))
    arrived.pipeline.setup()
    assert arrived.steps[0].__self__ is arrived.pipeline  # type: ignore[attr-defined]
    assert arrived.steps[0].__self__.ready  # type: ignore[attr-defined]


def test_the_same_chain_has_the_same_name() -> None:
    step = closure(3)
    assert ship(spec(parse, step)) == ship(spec(parse, step))
    assert ship(spec(parse, pipeline=Counting(3))) == ship(spec(parse, pipeline=Counting(3)))


def test_chains_that_differ_have_different_names() -> None:
    chains = [
        spec(parse),
        spec(parse, parse),
        spec(closure(3)),
        spec(closure(4)),
        spec(parse, pipeline=Counting(3)),
        spec(parse, pipeline=Counting(4)),
        ChainSpec(("other",), (parse,), None),
    ]
    assert len({ship(chain).key for chain in chains}) == len(chains)


def holding(lock: object) -> Callable[[int], tuple[int, bool]]:
    def uses_lock(record: int) -> tuple[int, bool]:
        return (record, True) if lock else (record, False)

    return uses_lock


def test_a_step_that_cannot_be_shipped_is_named_with_the_reason_and_the_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        ship(spec(parse, holding(threading.Lock()), parse))
    message = str(caught.value)
    assert message.startswith("step 'uses_lock' cannot be sent to the workers: TypeError: cannot pickle '_thread.lock'")
    assert "Open what it holds on to in setup(self), or use executor='threads'" in message
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_pipeline_that_cannot_be_shipped_is_named_rather_than_its_steps() -> None:
    pipeline = Counting(threading.Lock())
    with pytest.raises(
        ConfigError, match=r"^Counting cannot be sent.*_thread.lock.*in setup\(self\) instead of __init"
    ):
        ship(spec(pipeline.count, pipeline=pipeline))


class RaisesWhenShipped:
    def __call__(self, record: int) -> tuple[int, bool]:
        return record, True

    def __reduce__(self) -> Any:
        raise RuntimeError("stays here")


def test_whatever_pickling_a_step_raises_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match=r"step 'RaisesWhenShipped' cannot be sent.*RuntimeError: stays here"):
        ship(spec(RaisesWhenShipped()))


def test_a_fault_that_is_no_single_step_is_told_as_it_is() -> None:
    with pytest.raises(ConfigError, match="the steps cannot be sent to the workers: TypeError"):
        ship(ChainSpec((threading.Lock(),), (parse,), None))  # type: ignore[arg-type]


def test_what_only_the_loop_runs_stays_at_home() -> None:
    lock = threading.Lock()  # stands for a client that cannot be pickled

    class Local(PipelineEngine[Any, Any]):  # travels by value
        def setup(self) -> None:
            self.by = 2

        def scale(self, record: int) -> tuple[int, bool]:
            return record * self.by, True

        async def feed(self) -> Any:
            yield lock

        @staticmethod
        def sink(records: list[Any]) -> None:
            lock.acquire()

        async def dead_letter(self, failures: list[Any]) -> None:
            lock.acquire()

    pipeline = Local()
    chain = loaded(ship(spec(pipeline.scale, pipeline=pipeline)))
    chain.pipeline.setup()
    assert chain.steps[0](21) == (42, True)
    assert pipeline.feed.__name__ == "feed"
