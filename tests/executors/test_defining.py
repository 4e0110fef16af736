"""Definitions taken apart here and made elsewhere: what is by value, what by reference, what is named."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.standin import StandIns
from pipeframe_async.executors.defining import Defined, by_value, define

SOURCE = """
import dataclasses, enum, functools, threading
RATE = 2
TABLE = {"rate": RATE}
@dataclasses.dataclass(slots=True)
class Item:
    n: int = 1
    lock = threading.Lock()
    def worth(self): return self.n * RATE
class Planet(enum.Enum):
    EARTH = 1; MARS = 2; HOME = 1
    def __init__(self, n): self.weight = n * 10
class Plugin:
    found = []
    def __init_subclass__(cls, tag, **options): Plugin.found.append(tag)
class First(Plugin, tag="first"): pass
class Meta(type):
    made = []
    def __new__(meta, name, bases, body):
        meta.made.append(body["must"])
        return super().__new__(meta, name, bases, body)
class Formed(metaclass=Meta): must = "have it"
@functools.lru_cache(7)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.singledispatch
def kind(value): return "any"
@kind.register
def _(value: int): return "int"
def noted(item: "Item", planet: "Missing") -> "Planet": return TABLE
def numbers(): return NUMBERS
NUMBERS = (n for n in range(3))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that was loaded by path, as plugins and jobs are."""
    path = tmp_path / "a_job.py"
    path.write_text(SOURCE, "utf-8")
    spec = importlib.util.spec_from_file_location("a_job_by_path", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns]:
    """Another process, as far as definitions can tell."""
    place = StandIns()
    with standin.at_work(place, keep=False):
        yield place


def made(defined: Defined, place: StandIns, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as other, standin.at_work(place, keep=False):
        other.setattr(standin, "home", "another")
        return making.load(defined.data, place)


def test_only_what_no_finder_finds_is_by_value(program: ModuleType) -> None:
    assert by_value("__main__")
    assert by_value(program.__name__)
    for name in ("json", "json.decoder", "sys", "os.path", "cloudpickle.cloudpickle", __name__, "no_such", None):
        assert not by_value(name), name


def test_a_part_of_something_compiled_is_importable() -> None:
    numpy = pytest.importorskip("numpy")
    assert not by_value(numpy.random.mtrand.__name__)
    assert not by_value(type(numpy.add).__module__)


def test_a_module_that_hides_an_importable_one_is_by_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = ModuleType("json")
    other.__file__ = str(tmp_path / "json.py")
    Path(other.__file__).touch()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "json", other)
        assert by_value("json")
    assert sys.modules["json"] is json
    assert not by_value("json")


def test_functions_and_their_classes_live_in_one_module(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StandIns()
    item, fib = made(define((program.Item, program.fib)), place, monkeypatch)
    there = vars(place.module(program.__name__))
    assert (there["Item"], there["fib"], there["RATE"]) == (item, fib, 2)
    there["RATE"] = 5
    assert item(3).worth() == 15
    assert not hasattr(item(3), "__dict__")
    assert fib(20) == 6765
    assert fib.cache_parameters()["maxsize"] == 7


def test_at_home_things_are_what_they_are(program: ModuleType) -> None:
    values = (program.Item, program.fib, program.kind, program.noted, program.Planet, program.Formed)
    assert making.load(define(values).data, None) == values
    assert program.Plugin.found == ["first"]


def test_hooks_of_the_program_have_run_where_its_classes_were_made(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, formed = made(define((program.Plugin, program.Formed)), place := StandIns(), monkeypatch)
    assert plugin.found == ["first"]
    assert type(formed).made == ["have it"]
    (first,) = made(define((program.First,)), place, monkeypatch)
    assert first.__mro__[1].found == ["first"]
    type("Second", (first,), {}, tag="second")
    assert first.__mro__[1].found == ["first", "second"]  # and it is a hook again


def test_members_of_an_enumeration_have_what_their_init_gave_them(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planet,) = made(define((program.Planet,)), StandIns(), monkeypatch)
    assert [member.weight for member in planet] == [10, 20]
    assert planet.HOME is planet.EARTH is planet(1)


def test_a_dispatching_function_knows_its_cases(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (kind,) = made(define((program.kind,)), StandIns(), monkeypatch)
    assert (kind(1), kind("")) == ("int", "any")


def test_names_in_annotations_go_along_where_they_can(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StandIns()
    made(define((program.noted,)), place, monkeypatch)
    assert {"Item", "Planet", "TABLE"} <= set(vars(place.module(program.__name__)))


def test_what_is_there_is_referred_to_and_not_set_again(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StandIns()
    first = define((program.noted,))
    made(first, place, monkeypatch)
    vars(place.module(program.__name__))["TABLE"] = "changed there"
    second = define((program.noted, program.Item), there=frozenset(first.names))
    assert b"rate" not in second.data
    made(second, place, monkeypatch)
    assert vars(place.module(program.__name__))["TABLE"] == "changed there"


def test_the_same_definitions_are_the_same_bytes(program: ModuleType) -> None:
    values = (program.Item, program.kind, program.fib, program.Planet)
    assert define(values).data == define(values).data


def test_a_code_object_keeps_the_name_of_its_file(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (function,) = made(define((program.noted,)), StandIns(), monkeypatch)
    assert function.__code__.co_filename == program.__file__


def test_a_lock_that_a_class_holds_is_a_new_one_and_one_in_a_closure_is_refused(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = made(define((program.Item,)), StandIns(), monkeypatch)
    with item.lock, program.Item.lock:
        pass
    with pytest.raises(TypeError, match="lock"):
        define((program.Item.lock,))


def test_what_nobody_can_send_is_refused(program: ModuleType) -> None:
    with pytest.raises(TypeError, match="generator"):
        define((program.numbers,))
