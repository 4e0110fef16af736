"""The unrolled loops come to what a slow and simple interpreter of the contract comes to, whatever the steps are."""

from __future__ import annotations

import functools
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType, GeneratorType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import chain as chain_module
from pipeframe_async._worker.chain import SLOW_NS, Chain
from pipeframe_async._worker.cursor import INDEX, STEP, Cursor
from pipeframe_async._worker.shapes import Form, known
from pipeframe_async._worker.tally import Tally
from pipeframe_async.failures import failure_of, wrong_shape
from pipeframe_async.model import DROP
from pipeframe_async.steps import apply, expand, keep_if, step_name
from pipeframe_async.wire import ChainSpec
from tests.conftest import shown

Step = Callable[[Any], Any]
Pair = namedtuple("Pair", "record keep_going")

FAST, SLOW = 0.0, float(SLOW_NS)
COSTS = pytest.mark.parametrize("cost", [FAST, SLOW], ids=["plain", "timed"])


def adds(record: int) -> Any:
    return record + 1, True


def adds_or_doubles(record: int) -> Any:
    if record % 3:
        return record + 1, True
    return record * 2, True


def adds_or_raises(record: int) -> Any:
    if record % 5 == 2:
        raise ValueError(record)
    return record + 1, True


def exits(record: int) -> Any:
    if record % 7 == 3:
        raise SystemExit(record)
    return record, True


def bypasses(record: int) -> Any:
    return record, record % 4 != 1


def has_odd_flags(record: int) -> Any:
    return record, (True, False, 1, 0, None, "yes")[record % 6]


def drops(record: int) -> Any:
    return (record, True) if record % 3 else DROP


def forgets(record: int) -> Any:
    return (record, True) if record % 5 else None


def has_many_shapes(record: int) -> Any:
    return [
        (record, True),
        Pair(record, True),
        Pair(record, False),
        (record,),
        (record, True, True),
        [record, True],
        DROP,
        iter([1]),
        Pair(record, 1),
    ][record % 9]


def fans(record: int) -> Iterator[Any]:
    for number in range(record % 4):
        yield record + number, number != 2


def fans_and_raises(record: int) -> Iterator[Any]:
    yield record, True
    if record % 4 == 1:
        raise StopIteration
    if record % 4 == 2:
        yield record
    yield Pair(record + 1, True)


def gives_a_generator(record: int) -> Any:
    return ((record + number, True) for number in range(2)) if record % 2 else (record, True)


class Shy:
    def __bool__(self) -> bool:
        raise ZeroDivisionError


def truth(record: int) -> Any:
    return ["", 0, Shy(), "x", True, None, 1.5][record % 7]


def divides(record: int) -> int:
    return 60 // (record % 4)


def ranges(record: int) -> Any:
    return range(record, record + record % 3) if record % 4 else record


class Steps:
    """Steps that are methods, of any kind."""

    def adds(self, record: int) -> Any:
        return record + 1, True

    def bypasses(self, record: int) -> Any:
        return record, record % 3 == 0

    def drops(self, record: int) -> Any:
        return DROP if record % 3 else (record, True)

    @staticmethod
    def static(record: int) -> Any:
        return record - 1, True

    def __call__(self, record: int) -> Any:
        return record + 2, True


def adds_more(record: int, more: int) -> Any:
    return record + more, True


def closure(more: int) -> Step:
    def step(record: int) -> Any:
        return record + more, True

    return step


ZOO: list[Step] = [
    adds,
    adds_or_doubles,
    adds_or_raises,
    exits,
    bypasses,
    has_odd_flags,
    drops,
    forgets,
    has_many_shapes,
    fans,
    fans_and_raises,
    gives_a_generator,
    Steps().adds,
    Steps().bypasses,
    Steps().drops,
    Steps.static,
    vars(Steps)["static"],
    Steps(),
    closure(3),
    lambda record: (record * 2, True),
    functools.partial(adds_more, more=2),
    functools.partial(drops),
    adds_more,  # type: ignore[list-item]  # wants another argument: fails each record
    apply(divides),
    apply(abs),
    apply(drops),
    keep_if(truth),
    keep_if(divides),
    expand(ranges),
]

LEADING = st.sampled_from(ZOO[:9] + ZOO[12:22] + ZOO[23:28])  # a long way in is of more use than a failure at once


@dataclass
class Books:
    """What a batch comes to."""

    results: list[Any] = field(default_factory=list)
    bypass_at: list[int] = field(default_factory=list)
    filtered: int = 0
    emitted: int = 0
    failures: list[tuple[int, int, str, str]] = field(default_factory=list)
    spans: dict[int, int] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)


class Failed(Exception):
    """A record, or a child: at a step, by an error of this type, with this message."""


Leaf = tuple[str, Any]


class Interpreter:
    """The contract of steps, one record at a time, without any haste."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.calls = [0] * len(steps)

    def run(self, records: Sequence[Any]) -> Books:
        books = Books()
        for index, record in enumerate(records):
            try:
                leaves = self.walk(record, 0)
            except Failed as failed:
                leaves = [("failed", failed.args)]
            books.emitted += len(leaves) - 1
            before = len(books.results)
            for kind, value in leaves:
                self.book(books, index, kind, value)
            if len(books.results) - before != 1:
                books.spans[index] = len(books.results) - before
        books.calls = self.calls
        return books

    def book(self, books: Books, index: int, kind: str, value: Any) -> None:
        if kind == "failed":
            books.failures.append((index, *value))
        elif kind == "filtered":
            books.filtered += 1
        else:
            if kind == "bypassed":
                books.bypass_at.append(len(books.results))
            books.results.append(value)

    def walk(self, record: Any, at: int) -> list[Leaf]:
        """The outcomes of a record from a step on, one at least."""
        if at == len(self.steps):
            return [("result", record)]
        self.calls[at] += 1
        try:
            outcome = self.steps[at](record)
        except BaseException as error:
            raise Failed(at, type(error).__name__, str(error)) from None
        if outcome is DROP:
            return [("filtered", None)]
        if isinstance(outcome, GeneratorType):
            return self.children(outcome, at) or [("filtered", None)]
        return self.pair(outcome, at, "returned")

    def children(self, generator: Any, at: int) -> list[Leaf]:
        leaves: list[Leaf] = []
        while True:
            try:
                child = next(generator)
            except StopIteration:
                return leaves
            except BaseException as error:
                raise Failed(at, type(error).__name__, str(error)) from None
            self.shape(child, at, "yielded")
            try:
                leaves += self.pair(child, at, "yielded")
            except Failed as failed:
                leaves.append(("failed", failed.args))

    def pair(self, outcome: Any, at: int, verb: str) -> list[Leaf]:
        self.shape(outcome, at, verb)
        record, keep_going = outcome
        return self.walk(record, at + 1) if keep_going else [("bypassed", record)]

    def shape(self, outcome: Any, at: int, verb: str) -> None:
        if not (isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], bool)):
            raise Failed(at, "StepError", wrong_shape(step_name(self.steps[at]), outcome, verb))


def chain_of(*steps: Step, limit: float | None = None, pipeline: Any = None) -> Chain:
    return Chain(ChainSpec(tuple(map(step_name, steps)), steps, pipeline, limit))


def run(chain: Chain, records: Sequence[Any], cost: float) -> Tally:
    chain._record_ns = cost
    return chain.run(records, Cursor().cells)


def books_of(tally: Tally) -> Books:
    failures = [(f.at, f.step, f.error_type, f.message) for f in tally.failures]
    return Books(
        tally.results, tally.bypass_at, tally.filtered, sum(tally.grown.values()), failures, tally.spans, tally.calls
    )


def addressless(books: Books) -> Books:
    """Objects without a text of their own are shown with an address."""
    books.failures = [(*rest, message.split(" object at ")[0]) for *rest, message in books.failures]  # type: ignore[misc]
    return books


@settings(max_examples=400, deadline=None)
@given(
    st.lists(LEADING, max_size=4),
    st.lists(st.sampled_from(ZOO), min_size=1, max_size=3),
    st.lists(st.integers(-2, 60), max_size=80),
    st.sampled_from([FAST, SLOW]),
    st.sampled_from([None, 5.0]),
)
def test_any_steps_come_to_what_the_contract_says(
    leading: list[Step], last: list[Step], records: list[int], cost: float, limit: float | None
) -> None:
    steps = [*leading, *last]
    tally = run(chain_of(*steps, limit=limit), records, cost)
    assert addressless(books_of(tally)) == addressless(Interpreter(steps).run(records))
    assert all(times.timed <= times.calls for times in tally.times())
    if cost == SLOW:
        assert all(times.timed == times.calls for times in tally.times())


@pytest.mark.parametrize("step", ZOO, ids=step_name)
@COSTS
def test_each_step_alone_comes_to_what_the_contract_says(step: Step, cost: float) -> None:
    tally = run(chain_of(step), range(100), cost)
    assert addressless(books_of(tally)) == addressless(Interpreter([step]).run(range(100)))


def test_the_zoo_has_steps_of_every_form() -> None:
    assert {known(step)[0] for step in ZOO} == set(Form)


@COSTS
@pytest.mark.parametrize("limit", [None, 5.0])
def test_the_cursor_says_each_record_and_where_there_is_a_limit_each_step(cost: float, limit: float | None) -> None:
    cells = Cursor().cells
    seen: list[tuple[int, int]] = []

    def goes_on(record: int) -> Any:
        seen.append((cells[INDEX], cells[STEP]))
        return record, True

    def surely(record: int) -> bool:
        seen.append((cells[INDEX], cells[STEP]))
        return True

    def unsure(record: int) -> Any:
        return goes_on(record)

    def pair(record: int) -> Any:
        goes_on(record)
        return record, bool(record + 1)

    chain = chain_of(goes_on, pair, keep_if(surely), apply(surely), unsure, limit=limit)
    chain.setup()
    chain._record_ns = cost
    chain.run([0] * 70, cells)
    assert [index for index, _ in seen] == [index for index in range(70) for _ in range(5)]
    if limit or cost == SLOW:
        assert [step for _, step in seen] == list(range(5)) * 70


def test_a_batch_longer_than_the_indices_that_are_kept_is_counted_to_its_end() -> None:
    cells, count = Cursor().cells, chain_module.MAX_INDICES + 5
    chain = chain_of(lambda record: (cells[INDEX], True))
    chain._record_ns = FAST
    assert chain.run([0] * count, cells).results == list(range(count))


def raises_key_error(record: Any) -> Any:
    raise KeyError("no such order")


def raises_of_a_pair(record: Any) -> Any:
    if record is not None:
        raise KeyError("no such order")
    return record, bool(record)


def raises_in_a_generator(record: Any) -> Any:
    raise KeyError("no such order")
    yield


@COSTS
@pytest.mark.parametrize(
    "step",
    [
        raises_key_error,
        raises_of_a_pair,
        apply(raises_key_error),
        keep_if(raises_key_error),
        expand(raises_key_error),
        expand(raises_in_a_generator),
        raises_in_a_generator,
        functools.partial(raises_key_error),
    ],
    ids=shown,
)
def test_a_traceback_starts_at_the_users_own_function(step: Step, cost: float) -> None:
    for before in ([], [fans_out]):  # children of a fan-out go another way
        failure = run(chain_of(*before, step), [1] * 30, cost).failures[-1]
        assert failure.traceback.startswith("Traceback (most recent call last):\n")
        assert failure.traceback.count("  File ") == 1
        assert f"in {step_name(step)}\n" in failure.traceback
        assert failure.traceback.endswith("KeyError: 'no such order'\n")


def fans_out(record: Any) -> Iterator[Any]:
    yield record, True


@COSTS
@pytest.mark.parametrize("step", [int, apply(int), keep_if(int)], ids=repr)
def test_of_a_function_without_frames_the_traceback_is_the_error_alone(step: Step, cost: float) -> None:
    failure = run(chain_of(step), ["x"] * 30, cost).failures[-1]
    assert failure.traceback == "ValueError: invalid literal for int() with base 10: 'x'\n"


def test_an_error_of_the_chain_itself_shows_where_it_is() -> None:
    with pytest.raises(TypeError) as caught:
        chain_of(adds).run(None, Cursor().cells)  # type: ignore[arg-type]
    tb = caught.value.__traceback__
    assert tb is not None
    assert "in run\n" in failure_of(0, 0, caught.value.with_traceback(tb.tb_next)).traceback


def replace_code(step: Any, by: Any) -> None:
    step.__code__ = by.__code__


@COSTS
def test_code_of_a_step_that_is_replaced_counts_from_the_next_batch(cost: float) -> None:
    def step(record: int) -> Any:
        return record, True

    chain = chain_of(step, adds)
    assert run(chain, range(40), cost).results == list(range(1, 41))
    replace_code(step, drops)
    expected = Interpreter([drops, adds]).run(range(40))
    assert books_of(run(chain, range(40), cost)) == expected
    replace_code(step, adds)
    assert run(chain, range(40), cost).results == list(range(2, 42))


def replaces_itself(record: int) -> Any:
    if record == 20:
        replace_code(replaces_itself, forgets)
    return record, True


@COSTS
def test_a_step_that_replaces_its_own_code_is_not_misread(cost: float) -> None:
    chain, code = chain_of(replaces_itself), replaces_itself.__code__
    try:
        assert run(chain, range(40), cost).results == list(range(40))
        assert len(run(chain, range(40), cost).failures) == 8
    finally:
        replaces_itself.__code__ = code


def test_what_setup_does_to_a_step_counts_from_the_first_batch() -> None:
    def step(record: int, more: int = 1) -> Any:
        return record + more, True

    class Pipeline:
        def setup(self) -> None:
            step.__defaults__ = (10,)

    chain = chain_of(step, pipeline=Pipeline())
    chain.setup()
    assert chain.run([1, 2], Cursor().cells).results == [11, 12]


def test_another_function_put_into_a_step_of_ours_counts_from_the_next_batch() -> None:
    step = apply(divides)
    chain = chain_of(step)
    assert run(chain, [1], FAST).results == [60]
    step.fn = abs
    assert run(chain, [-5], FAST).results == [5]


def test_under_a_debugger_it_is_the_same() -> None:
    lines, before = [], sys.gettrace()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        lines.append(event)
        return trace

    steps: list[Step] = [adds, bypasses, drops, apply(divides), keep_if(divides)]
    chain = chain_of(*steps)
    chain.setup()
    sys.settrace(trace)
    try:
        tally = run(chain, range(50), FAST)
    finally:
        sys.settrace(before)
    assert "line" in lines
    assert books_of(tally) == Interpreter(steps).run(range(50))
