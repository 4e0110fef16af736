"""Values to bytes and back; classes of a script's `__main__` travel by value, nothing else does."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._worker import codec
from pipeframe_async.model import DROP
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


SCRIPT = """
import sys
from dataclasses import dataclass
from enum import Enum
from pipeframe_async._worker import codec

class Colour(Enum):
    RED = 1

class Line:
    def __init__(self, order): self.order = order

@dataclass
class Order:
    number: int
    colour: Colour = Colour.RED
    def double(self): return Order(self.number * 2)
    def line(self): return Line(self)

def function(): pass

assert isinstance(codec.loads(codec.dumps(Order(1))), Order)
values = {"instances": [Order(20), Order(21)], "class": Order, "enum": Colour.RED, "line": Order(3).line()}
values["many"] = [Order(n) for n in range(1000)]
for name, value in values.items():
    print(name, codec.dumps(value).hex(), sep="=")
print("function", codec.dumps(function).hex(), sep="=")
"""


@pytest.fixture(scope="module")
def from_a_script() -> dict[str, bytes]:
    """Bytes of values of classes that are defined in a script, made by that script."""
    run = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, timeout=30, check=True)
    lines = (line.partition("=") for line in run.stdout.splitlines())
    return {name: bytes.fromhex(data) for name, _, data in lines}


def test_classes_of_a_script_are_read_where_the_script_is_not_imported(from_a_script: dict[str, bytes]) -> None:
    first, second = codec.loads(from_a_script["instances"])
    assert (type(first).__name__, type(first).__module__) == ("Order", "__main__")
    assert (first.number, second.number, second.double().number) == (20, 21, 42)
    assert first.colour.name == "RED"
    assert first.line().order is first


def test_a_class_of_a_script_is_one_class_however_often_it_comes(from_a_script: dict[str, bytes]) -> None:
    first, second = codec.loads(from_a_script["instances"])
    assert type(first) is type(second) is codec.loads(from_a_script["class"])
    assert type(codec.loads(from_a_script["line"]).order) is type(first)
    assert type(first.colour) is type(codec.loads(from_a_script["enum"]))
    assert codec.loads(from_a_script["instances"]) == [first, second]


def test_a_class_of_a_script_travels_once_a_batch(from_a_script: dict[str, bytes]) -> None:
    one, many = len(from_a_script["instances"]), len(from_a_script["many"])
    assert many < one + 1_000 * 40


def test_a_function_of_a_script_is_no_record(from_a_script: dict[str, bytes]) -> None:
    with pytest.raises(AttributeError, match="function"):
        codec.loads(from_a_script["function"])
