"""Values to bytes and back; classes of a script's `__main__` are named, and read where there is something to find."""

from __future__ import annotations

import gc
import pickle
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._worker import codec, standin
from pipeframe_async._worker.standin import StandIns
from pipeframe_async.model import DROP
from pipeframe_async.wire import OutOfBand
from tests.worker import hostile

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.text())
    ),
    max_leaves=20,
)


REFUSALS = (
    pickle.PicklingError,
    AttributeError,
    TypeError,
    ValueError,
    RecursionError,
    SystemExit,
    KeyboardInterrupt,
)


@dataclass(frozen=True)
class Order:
    number: int


@given(VALUES)
def test_values_come_back_equal(value: Any) -> None:
    assert codec.loads(codec.dumps(value)) == value


def test_instances_of_importable_classes_travel_by_reference() -> None:
    data = codec.dumps([Order(1)])
    assert codec.loads(data) == [Order(1)]
    assert data == pickle.dumps([Order(1)], codec.PROTOCOL)


@pytest.mark.parametrize("value", ["__main__", b"__main__", ["a script has a __main__"], {"__main__": 1}])
def test_a_value_that_merely_mentions_main_comes_back_equal(value: Any) -> None:
    assert codec.loads(codec.dumps(value)) == value


def test_drop_is_the_same_object_on_the_other_side() -> None:
    assert codec.loads(codec.dumps(DROP)) is DROP


@pytest.mark.parametrize("kind", hostile.UNWRITABLE)
def test_what_pickle_refuses_stays_refused(kind: str) -> None:
    value = hostile.UNWRITABLE[kind]()
    with pytest.raises(REFUSALS):
        codec.dumps([value])


def local_class() -> Any:
    class Local:
        pass

    return Local()


def test_an_instance_of_a_class_inside_a_function_stays_refused() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="Local"):
        codec.dumps(local_class())


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A main module with a class that it has, and one that it has not."""
    module = ModuleType("__main__")
    exec("class Order:\n    def __init__(self, number): self.number = number\n", module.__dict__)
    exec("def local():\n    class Local: pass\n    return Local\nHere = local()", module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_a_class_of_main_is_named_as_that_of_any_module(main: ModuleType) -> None:
    order = main.Order(3)
    data = codec.dumps([order])
    assert data == pickle.dumps([order], codec.PROTOCOL)
    assert type(codec.loads(data)[0]) is main.Order


def test_a_class_that_main_does_not_have_under_its_name_is_found_again(main: ModuleType) -> None:
    assert type(codec.loads(codec.dumps(main.Here()))) is main.Here


def test_so_is_one_whose_name_another_has_taken(main: ModuleType) -> None:
    old = main.Order
    order = old(3)
    exec("class Order: pass", main.__dict__)
    back = codec.loads(codec.dumps(order))
    assert type(back) is old
    assert back.number == 3


def test_what_a_worker_made_of_a_class_of_main_is_named_as_the_program_names_it(main: ModuleType) -> None:
    place = StandIns()
    made = type("Order", (), {"__module__": "__main__", "__qualname__": "local.<locals>.Order"})
    place.put(("__main__", "<1>"), made)
    with standin.at_work(place, keep=False):
        assert type(codec.loads(codec.dumps(made()))) is made


def test_a_class_that_a_step_makes_travels_by_value() -> None:
    place = StandIns()
    base = type("Base", (), {"__module__": "__main__", "__qualname__": "Base", "number": 7})
    place.put(("__main__", "Base"), base)
    with standin.at_work(place, keep=False):
        born = type("Born", (base,), {"__module__": "__main__", "__qualname__": "step.<locals>.Born"})
        data = codec.dumps(born())
        back = codec.loads(data)
    assert back.number == 7
    assert b"number" not in data  # its base is named


@pytest.mark.parametrize("nbytes", [0, 1, 70_000, 3 * 2**20 + 1])
@pytest.mark.parametrize(
    "kind", [bytes, bytearray, lambda n: "x" * n, lambda n: [{"a": i, "b": [str(i)]} for i in range(n // 100)]]
)
def test_beside_the_loop_the_same_comes_of_it(nbytes: int, kind: Any) -> None:
    value = [kind(nbytes), {"two": kind(nbytes)}]
    assert codec.loads(codec.dumps_aside(value)) == value
    assert codec.loads_aside(codec.dumps(value)) == value
    beside: list[Any] = []
    data = codec.dumps_aside(value, beside)
    assert codec.loads_aside(OutOfBand(data, tuple(beside)) if beside else data) == value


def test_beside_the_loop_large_buffers_stand_beside_the_pickle_too() -> None:
    numpy = pytest.importorskip("numpy")
    value, beside = [numpy.arange(10_000.0)], list[Any]()
    data = codec.dumps_aside(value, beside)
    assert len(beside) == 1
    (back,) = codec.loads_aside(OutOfBand(data, tuple(beside)))
    assert (back == value[0]).all()


def test_beside_the_loop_what_cannot_be_pickled_raises_and_text_pickles_are_read() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        codec.dumps_aside([lambda: None], [])
    value = [1.5, "text", {"a": 2**70}]
    assert codec.loads_aside(pickle.dumps(value, 0)) == value


class Looks:
    """Says whether the collector was on as it was read."""

    def __reduce__(self) -> Any:
        return gc.isenabled, ()


def test_no_garbage_is_looked_for_while_a_large_value_is_made_and_the_collector_is_on_again_after_it() -> None:
    class Raises:
        def __reduce__(self) -> Any:
            return int, ("x",)

    assert gc.isenabled()
    assert codec.loads_aside(pickle.dumps([Looks()])) == [False]
    assert gc.isenabled()
    with pytest.raises(ValueError, match="invalid literal"):
        codec.loads_aside(pickle.dumps(Raises()))
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off_and_what_is_frozen_stays_frozen() -> None:
    gc.disable()
    try:
        codec.loads_aside(pickle.dumps([1]))
        assert not gc.isenabled()
    finally:
        gc.enable()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        codec.loads_aside(pickle.dumps([1]))
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


def test_of_two_that_read_at_once_the_last_one_puts_the_collector_on() -> None:
    with codec._uncollected:
        codec.loads_aside(pickle.dumps([1]))
        assert not gc.isenabled()
    assert gc.isenabled()
