"""What a step returns is taken as certain only where it is: the proof refuses whatever could be something else."""

from __future__ import annotations

import contextlib
import functools
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeframe_async._worker import shapes
from pipeframe_async._worker.shapes import KNOWN_BYTECODE, Form, form_of, known, made_of
from pipeframe_async.model import DROP
from pipeframe_async.steps import Apply, apply, expand, keep_if

pytestmark = pytest.mark.skipif(not KNOWN_BYTECODE, reason="of bytecode that nobody has looked at nothing is certain")

flag = True
Function = Callable[..., Any]


def plain(record: Any) -> Any:
    return record, True


def worked_out(record: Any) -> Any:
    total = 0
    for number in range(record):
        total += number
    return total, True


def returns_early(record: Any) -> Any:
    if record > 3:
        return record, True
    if record < 0:
        raise ValueError(record)
    return -record, True


def one_of_two_records(record: Any) -> Any:
    return (record if flag else 0), True


def a_short_circuit(record: Any) -> Any:
    return record or flag, True


def a_pair_as_record(record: Any) -> Any:
    return (record, False), True


def tries(record: Any) -> Any:
    try:
        record = int(record)
    except ValueError:
        record = 0
    return record, True


def cleans_up(record: Any) -> Any:
    try:
        record += 1
    finally:
        str(record)
    return record, True


def raises_always(record: Any) -> Any:
    raise ValueError(record)


def with_a_lambda_inside(record: Any) -> Any:
    return (lambda: DROP)(), True


def with_a_keyword(record: Any, *, more: int = 1) -> Any:
    return record + more, True


GOES_ON = [
    plain,
    worked_out,
    returns_early,
    one_of_two_records,
    a_short_circuit,
    a_pair_as_record,
    tries,
    cleans_up,
    raises_always,
    with_a_lambda_inside,
    with_a_keyword,
    lambda record: (record, True),
]


def a_flag(record: Any) -> Any:
    return record, flag


def a_number(record: Any) -> Any:
    return record, 1


def bypasses_early(record: Any) -> Any:
    if record:
        return record, False
    return record, True


def a_ternary_flag(record: Any) -> Any:
    return record, True if flag else False  # noqa: SIM210


def a_flag_with_a_default(record: Any) -> Any:
    return record, flag or True


def from_a_with_block(record: Any) -> Any:
    with contextlib.nullcontext():
        return record, bool(record)


PAIRS = [a_flag, a_number, bypasses_early, a_ternary_flag, a_flag_with_a_default]


def a_ternary_with_drop(record: Any) -> Any:
    return (record, True) if record else DROP


def falls_off_its_end(record: Any) -> Any:  # noqa: RET503
    if record:
        return record, True


def returns_nothing(record: Any) -> Any:
    str(record)


def overruled_by_finally() -> Function:
    """A function that compilers warn of since 3.14."""
    made: dict[str, Any] = {"DROP": DROP}
    text = """
def overruled_by_finally(record):
    try:
        return record, True
    finally:
        if record:
            return DROP
"""
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        exec(text, made)
    function: Function = made["overruled_by_finally"]
    return function


def swallowed_by_with(record: Any) -> Any:
    with contextlib.suppress(ValueError):
        return int(record), True


def drops_early(record: Any) -> Any:
    if not record:
        return DROP
    return record, True


def drops_in_except(record: Any) -> Any:
    try:
        return int(record), True
    except ValueError:
        return DROP


def sliced(record: Any) -> Any:
    return (record, True)[: record + 1]


def picked(record: Any) -> Any:
    return (record, True)[1]


def one(record: Any) -> Any:
    return (record,)


def three(record: Any) -> Any:
    return record, True, True


def added(record: Any) -> Any:
    return (record, True) + ((1,) if record else ())


def starred(record: Any) -> Any:
    return *[record] * record, True


def starred_last(record: Any) -> Any:
    return record, True, *range(record)


def a_constant(record: Any) -> Any:
    return (1, True)


def a_constant_that_bypasses(record: Any) -> Any:
    return (1, False)


def a_list(record: Any) -> Any:
    return [record, True]


def a_variable(record: Any) -> Any:
    outcome = (record, True)
    return outcome  # noqa: RET504


def a_variable_that_may_be_another(record: Any) -> Any:
    outcome: Any = (record, True)
    if record:
        outcome = DROP
    return outcome


def a_chain_of_or(record: Any) -> Any:
    return record and (record, True)


def of_another_function(record: Any) -> Any:
    return plain(record)


def matched(record: Any) -> Any:
    match record:
        case 1:
            return record, True
        case 2:
            return DROP


def generates(record: Any) -> Iterator[Any]:
    yield record, True


def generates_and_returns(record: Any) -> Any:
    yield record
    return record, True


async def awaits(record: Any) -> Any:
    return record, True


async def awaits_and_yields(record: Any) -> Any:
    yield record, True


@types.coroutine
def an_old_coroutine(record: Any) -> Any:
    yield
    return record, True


def a_generator_expression(record: Any) -> Any:
    return ((number, True) for number in range(record))


def an_inner_function(record: Any) -> Any:
    def inner() -> Any:
        return record, True

    return inner


def loops_for_ever_but_for_one(record: Any) -> Any:
    while True:
        if record:
            return record, True
        return None


def dropping(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(record: Any) -> Any:
        return DROP if record else function(record)

    return wrapper


class PlainObject:
    def __call__(self, record: Any) -> Any:
        return record, True


UNSURE = [
    a_ternary_with_drop,
    falls_off_its_end,
    returns_nothing,
    overruled_by_finally(),
    swallowed_by_with,
    drops_early,
    drops_in_except,
    from_a_with_block,
    sliced,
    picked,
    one,
    three,
    added,
    starred,
    starred_last,
    a_constant,
    a_constant_that_bypasses,
    a_list,
    a_variable,
    a_variable_that_may_be_another,
    a_chain_of_or,
    of_another_function,
    matched,
    generates,
    generates_and_returns,
    awaits,
    awaits_and_yields,
    an_old_coroutine,
    a_generator_expression,
    an_inner_function,
    loops_for_ever_but_for_one,
    dropping(plain),
    lambda record: DROP,
    lambda record: record and (record, True),
    PlainObject(),
    expand(plain),
    functools.partial(PlainObject()),
    int,
]


def name_of(step: object) -> str:
    return str(getattr(step, "__name__", type(step).__name__))


@pytest.mark.parametrize("step", GOES_ON, ids=name_of)
def test_a_function_whose_every_return_is_a_pair_with_true_goes_on(step: Function) -> None:
    assert known(step)[0] is Form.GOES_ON


@pytest.mark.parametrize("step", PAIRS, ids=name_of)
def test_a_function_whose_every_return_builds_a_pair_returns_pairs(step: Function) -> None:
    assert known(step)[0] is Form.PAIR


@pytest.mark.parametrize("step", UNSURE, ids=name_of)
def test_of_every_other_nothing_is_certain_and_it_is_called_as_it_is(step: Function) -> None:
    assert known(step) == (Form.ANY, step)


def test_the_functions_of_ours_are_called_without_what_wraps_them() -> None:
    assert known(apply(sliced)) == (Form.RECORD, sliced)
    assert known(keep_if(sliced)) == (Form.TRUTH, sliced)


def test_a_class_derived_from_ours_may_do_as_it_likes() -> None:
    class Twice(Apply[int, int]):
        __slots__ = ()

        def __call__(self, record: int) -> tuple[int, bool]:
            return 2 * self.fn(record), False

    step = Twice(abs)
    assert known(step) == (Form.ANY, step)


class Steps:
    more = 5

    def method(self, record: int) -> tuple[int, bool]:
        return record + self.more, True

    @classmethod
    def of_class(cls, record: int) -> tuple[int, bool]:
        return record + cls.more, True

    @staticmethod
    def static(record: int) -> tuple[int, bool]:
        return record + 5, True

    def sometimes(self, record: int) -> Any:
        return (record, True) if record else DROP


@pytest.mark.parametrize(
    "step",
    [
        Steps().method,
        Steps.of_class,
        Steps.static,
        vars(Steps)["static"],
        functools.partial(with_a_keyword, more=5),
        functools.partial(functools.partial(with_a_keyword), more=5),
        functools.partial(Steps().method),
        types.MethodType(lambda more, record: (record + more, True), 5),
    ],
    ids=lambda step: type(step).__name__,
)
def test_methods_and_partials_are_as_certain_as_their_functions(step: Function) -> None:
    form, call = known(step)
    assert form is Form.GOES_ON
    assert call(1) == step(1) == (6, True)


@pytest.mark.parametrize(
    "step",
    [
        Steps().sometimes,
        functools.partial(sliced),
        types.MethodType(apply(plain), 5),  # wants one argument and would get two
        functools.partial(apply(plain)),
    ],
    ids=lambda step: type(step).__name__,
)
def test_methods_and_partials_of_what_is_not_certain_are_not(step: Function) -> None:
    assert known(step) == (Form.ANY, step)


def test_the_copy_has_the_defaults_of_its_function() -> None:
    def step(record: int, more: int = 1, *, most: int = 10) -> Any:
        return record + more + most, True

    assert known(step)[1](0) == step(0) == (11, True)


def test_a_partial_may_be_given_other_keywords_later() -> None:
    step = functools.partial(with_a_keyword, more=1)
    call = known(step)[1]
    step.keywords["more"] = 10
    assert call(1) == step(1) == (11, True)


def test_a_closure_and_its_globals_stay_alive_in_the_copy() -> None:
    added = 1

    def step(record: int) -> tuple[int, bool]:
        return record + added, True

    call = known(step)[1]
    added = 7
    assert call(1) == (8, True)


def test_code_replaced_later_does_not_reach_the_copy_and_is_noticed() -> None:
    def step(record: int) -> Any:
        return record, True

    before, call = made_of(step), known(step)[1]
    step.__code__ = drops_early.__code__
    assert call(0) == (0, True)
    assert made_of(step)[0] is not before[0]
    assert known(step)[0] is Form.ANY


def test_of_another_interpreter_nothing_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "KNOWN_BYTECODE", False)
    assert known(plain) == (Form.ANY, plain)


SMALL = [
    "return record, True",
    "return (record if flag else 0), True",
    "return record, flag",
    "return record, False",
    "return record, (flag or True)",
    "return (record, True) if flag else (record, False)",
    "return (record, True) if flag else DROP",
    "return flag and (record, True)",
    "return (record, True)[:1]",
    "return *[record], True",
    "return (1, True)",
    "return record, True, True",
    "return [record, True]",
    "return DROP",
    "return",
    "return (lambda: record)(), True",
    "raise ValueError",
    "int('x')",
    "record += 1",
    "break",
    "continue",
]
BLOCKS = [
    "if record % 2:\n{}\nelse:\n{}",
    "if flag:\n{}",
    "for _ in range(2):\n{}\nelse:\n{}",
    "try:\n{}\nexcept ValueError:\n{}",
    "try:\n{}\nfinally:\n{}",
    "with contextlib.suppress(ValueError):\n{}",
    "match record:\n    case 1:\n{}\n    case _:\n{}",
]


def indented(source: str, by: int = 1) -> str:
    return "\n".join("    " * by + line for line in source.splitlines())


def block(template: str, first: str, second: str) -> str:
    by = 2 if template.startswith("match") else 1
    return template.format(indented(first, by), indented(second, by))


LINE = st.one_of(st.sampled_from(SMALL[:3]), st.sampled_from(SMALL))
BODY = st.recursive(
    LINE,
    lambda inner: st.one_of(
        st.builds(block, st.sampled_from(BLOCKS), inner, inner),
        st.lists(inner, min_size=2, max_size=3).map("\n".join),
    ),
    max_leaves=8,
)


def outcomes(function: Function, names: dict[str, Any]) -> Iterator[Any]:
    for names["flag"] in (True, False, 1):
        for record in range(4):
            with contextlib.suppress(ValueError):
                yield function(record)


@settings(max_examples=600, deadline=None)
@given(BODY)
def test_whatever_function_is_written_what_is_said_of_it_is_true(body: str) -> None:
    names: dict[str, Any] = {"DROP": DROP, "contextlib": contextlib}
    source = f"def function(record):\n{indented(body)}\n"
    try:
        exec(source, names)
    except SyntaxError:  # a break outside of a loop
        return
    form = form_of(names["function"].__code__)
    for outcome in outcomes(names["function"], names):
        if form is not Form.ANY:
            assert type(outcome) is tuple
            assert len(outcome) == 2
        if form is Form.GOES_ON:
            assert outcome[1] is True
