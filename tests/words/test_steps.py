"""Ordinary functions made into steps."""

from __future__ import annotations

import functools
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import DROP
from pipeframe_async.steps import apply, expand, keep_if, step_name, vectorize

MAKERS = pytest.mark.parametrize("make", [apply, keep_if, expand])


def double(record: int) -> int:
    return record * 2


def divmod_of_three(record: int) -> tuple[int, int]:
    return divmod(record, 3)


def up_to(record: int) -> Iterator[int]:
    yield from range(record)


class Doubling:
    def __call__(self, record: int) -> int:
        return record * 2

    def method(self, record: int) -> int:
        return record * 2


def test_apply_goes_on_with_what_the_function_returns() -> None:
    assert apply(double)(4) == (8, True)
    assert apply(print)("") == (None, True)
    assert apply(divmod_of_three)(7) == ((2, 1), True)  # a pair is a record here


@pytest.mark.parametrize(
    ("truth", "kept"), [(True, True), (1, True), ("x", True), (False, False), (0, False), ([], False)]
)
def test_keep_if_goes_on_with_the_record_where_the_predicate_holds(truth: object, kept: bool) -> None:
    def predicate(record: str) -> object:
        return truth

    assert keep_if(predicate)("r") == (("r", True) if kept else DROP)


@pytest.mark.parametrize(
    "fn", [up_to, range, lambda record: list(range(record)), lambda record: {0: "a", 1: "b", 2: "c"}]
)
def test_expand_goes_on_with_each_item(fn: Callable[[int], Any]) -> None:
    assert list(expand(fn)(3)) == [(0, True), (1, True), (2, True)]


def test_expand_of_nothing_yields_nothing() -> None:
    assert list(expand(up_to)(0)) == []


def test_expand_asks_for_an_item_only_when_it_is_wanted() -> None:
    def endless(record: int) -> Iterator[int]:
        while True:
            yield record

    assert next(iter(expand(endless)(7))) == (7, True)


def test_expand_of_what_cannot_be_iterated_raises_when_the_step_is_run() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(expand(double)(3))  # type: ignore[arg-type]


@MAKERS
@pytest.mark.parametrize("wrong", [None, 5, "double", [double]])
def test_what_is_no_function_is_refused_with_the_word_and_the_value(make: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make(wrong)
    word = {apply: "apply", keep_if: "keepif", expand: "expand"}[make]
    assert str(caught.value).replace("_", "") == f"{word}({wrong!r}): needs a function of one record".replace("_", "")


def test_a_refused_predicate_is_told_by_the_name_the_user_wrote() -> None:
    with pytest.raises(ConfigError, match=r"^keep_if\(5\)"):
        keep_if(5)  # type: ignore[call-overload]


@MAKERS
@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (double, "double"),
        (operator.neg, "neg"),
        (int, "int"),
        (lambda record: record, "<lambda>"),
        (functools.partial(double), "double"),
        (functools.partial(functools.partial(operator.add, 1)), "add"),
        (Doubling(), "Doubling"),
        (Doubling().method, "method"),
        (functools.partial(Doubling()), "Doubling"),
        (apply(double), "double"),
    ],
)
def test_a_step_goes_by_the_name_of_what_it_wraps(make: Callable[[Any], Any], fn: Any, name: str) -> None:
    assert step_name(fn) == name
    assert step_name(make(fn)) == name
    assert name in repr(make(fn))


@MAKERS
def test_a_step_of_an_importable_function_is_plainly_picklable(make: Callable[[Any], Any]) -> None:
    again = pickle.loads(pickle.dumps(make(double)))
    assert type(again) is type(make(double))
    assert again.fn is double
    assert step_name(again) == "double"


# Of many records.


def doubles(records: list[int]) -> list[int]:
    return [record * 2 for record in records]


def test_vectorize_gives_the_function_the_list_and_returns_what_it_does() -> None:
    step = vectorize(doubles, size=8)
    assert step([1, 2]) == [2, 4]
    assert (step.size, step.__name__, vectorize(doubles).size) == (8, "doubles", 256)


def test_a_vectorized_step_travels_with_its_size() -> None:
    again = pickle.loads(pickle.dumps(vectorize(doubles, 8)))
    assert (again.fn, again.size, again.__name__) == (doubles, 8, "doubles")


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, "8"])
def test_a_size_that_is_no_positive_int_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"^vectorize\(doubles, size=.*\): must be an int of at least 1"):
        vectorize(doubles, size)


@pytest.mark.parametrize("wrong", [None, 5, "double", [double]])
def test_what_is_no_function_of_a_list_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^vectorize\(.*\): needs a function of a list of records"):
        vectorize(wrong)
