"""Values a user hands in or gets back."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from pipeframe_async.errors import ConfigError
from pipeframe_async.model import DROP, Chunk, Delivery, Drop, Failure, FailureKind
from pipeframe_async.pipeline_engine import Retry


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_drop_is_one_object_wherever_it_has_been(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(DROP, protocol)) is DROP
    assert copy.deepcopy(DROP) is DROP
    assert Drop.DROP is DROP


def test_drop_is_printed_by_its_name() -> None:
    assert repr(DROP) == "DROP"


def test_a_chunk_takes_any_iterable_and_keeps_its_order() -> None:
    assert Chunk(n * n for n in range(4)).records == [0, 1, 4, 9]
    assert Chunk("ab").records == ["a", "b"]
    assert Chunk([]).records == []


def test_a_chunk_has_a_list_of_its_own() -> None:
    records = [1, 2]
    chunk = Chunk(records)
    records.append(3)
    assert chunk.records == [1, 2]


def test_a_delivery_needs_no_more_than_a_record() -> None:
    delivery = Delivery("order")
    assert (delivery.record, delivery.key, delivery.ack, delivery.nack) == ("order", None, None, None)


@pytest.mark.parametrize("inside", [lambda d: d, lambda d: [d], lambda d: Chunk([1, d]), lambda d: {"d": d}])
def test_a_delivery_does_not_travel_and_says_what_to_do(inside: Any) -> None:
    with pytest.raises(TypeError, match="a Delivery does not travel: yield it from the feed by itself"):
        pickle.dumps(inside(Delivery("order", ack=print)))


@pytest.mark.parametrize(
    ("value", "name"),
    [(Chunk([1]), "records"), (Delivery(1), "record"), (Failure(1, "s", "raised", "E", "m"), "record")],
)
def test_values_are_frozen(value: object, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, 2)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("raised", "step 'parse' raised ValueError: bad"),
        ("timeout", "step 'parse' ran out of time, ValueError: bad"),
        ("crashed", "step 'parse' lost its worker, ValueError: bad"),
        ("unpicklable", "step 'parse' could not cross the process border, ValueError: bad"),
    ],
)
def test_a_failure_is_printed_as_a_sentence(kind: FailureKind, text: str) -> None:
    assert str(Failure({"n": 1}, "parse", kind, "ValueError", "bad")) == text


def test_a_failure_is_shown_without_its_traceback_and_its_record() -> None:
    shown = repr(Failure("4111", "parse", "raised", "ValueError", "bad", traceback="Traceback of a hundred lines"))
    assert "hundred" not in shown
    assert "4111" not in shown
    assert "ValueError" in shown


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_failure_survives_pickling(protocol: int) -> None:
    failure = Failure({"n": 1}, "parse", "timeout", "TimeoutError", "10 s", "Traceback", attempts=3)
    assert pickle.loads(pickle.dumps(failure, protocol)) == failure


@pytest.mark.parametrize("attempts", [1, 0, -1, True, 2.0, "3", None])
def test_fewer_than_two_attempts_are_no_retry(attempts: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Retry(attempts)
    assert str(caught.value) == f"Retry(attempts={attempts!r}): must be an int of at least 2 (the first try counts)"


NAN = float("nan")
SENSELESS: list[dict[str, float]] = [
    {"backoff": -1},
    {"factor": 0.5},
    {"backoff": 5, "max_backoff": 4},
    {"backoff": NAN},
    {"factor": NAN},
    {"max_backoff": NAN},
    {"max_backoff": float("inf")},
]


@pytest.mark.parametrize("delays", SENSELESS)
def test_delays_that_make_no_sense_are_refused_with_all_of_them(delays: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="needs 0 <= backoff <= max_backoff and factor >= 1") as caught:
        Retry(3, **delays)  # type: ignore[arg-type]
    assert all(f"{name}={value!r}" in str(caught.value) for name, value in delays.items())


def test_a_retry_has_its_defaults() -> None:
    retry = Retry(2)
    assert (retry.on, retry.backoff, retry.factor, retry.max_backoff, retry.jitter) == ((Exception,), 0.1, 2, 30, True)
