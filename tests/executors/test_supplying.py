"""Definitions that records need beyond a chain's own: asked for once, as they are when the chain is loaded."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.standin import Parcel, StandIns
from pipeframe_async.executors import supplying
from pipeframe_async.executors.supplying import Supplies

SOURCE = """
import threading
RATE = 1
class Price:
    rate = 1
    def __init__(self, n): self.n = n
class Base: pass
class Sub(Base): pass
NUMBERS = (n for n in range(3))
class Bad: numbers = NUMBERS
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("__main__")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(supplying, "_asked", type(supplying._asked)())
    return module


def given(supplies: Supplies, place: StandIns, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    with monkeypatch.context() as other, standin.at_work(place, keep=False):
        other.setattr(standin, "home", "another")
        making.supply(place, Parcel(None, *supplies.parcel()))
    return place


def test_nothing_is_sent_before_somebody_asks(main: ModuleType) -> None:
    assert Supplies("key", frozenset()).parcel() == ("", (), {})


def test_a_class_that_was_asked_for_is_made(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    supplies = Supplies("key", frozenset())
    supplies.ask("__main__\tPrice")
    place = given(supplies, StandIns(), monkeypatch)
    assert place.tag == supplies.tag != ""
    assert place.find("__main__", "Price").rate == 1


def test_two_who_ask_for_the_same_change_nothing(main: ModuleType) -> None:
    supplies = Supplies("key", frozenset())
    supplies.ask("__main__\tPrice")
    tag = supplies.tag
    supplies.ask("__main__\tPrice")
    assert supplies.tag == tag
    assert len(supplies.parcel()[1]) == 1


def test_a_chain_that_is_loaded_again_has_what_it_was_asked_for(main: ModuleType) -> None:
    first = Supplies("key", frozenset())
    first.ask("__main__\tPrice")
    assert Supplies("key", frozenset()) == first
    main.Price.rate = 2
    assert Supplies("key", frozenset()).tag != first.tag
    assert Supplies("another", frozenset()).tag == ""


def test_what_is_the_same_stays_as_a_worker_has_it(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Supplies("key", frozenset())
    first.ask("__main__\tPrice")
    place = given(first, StandIns(), monkeypatch)
    price = place.find("__main__", "Price")
    first.ask("__main__\tBase")
    assert given(first, place, monkeypatch).find("__main__", "Price") is price
    main.Price.rate = 2
    assert given(Supplies("key", frozenset()), place, monkeypatch).find("__main__", "Price").rate == 2


def test_what_comes_later_is_made_of_what_is_there(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    supplies = Supplies("key", frozenset())
    supplies.ask("__main__\tBase")
    supplies.ask("__main__\tSub")
    place = given(supplies, StandIns(), monkeypatch)
    assert place.find("__main__", "Sub").__mro__[1] is place.find("__main__", "Base")


def test_what_cannot_be_sent_says_why_and_what_to_do(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    supplies = Supplies("key", frozenset())
    supplies.ask("__main__\tBad\n__main__\tPrice\n__main__\tnone_such\nno_such_module\t")
    place = given(supplies, StandIns(), monkeypatch)
    text = place.refused["__main__", "Bad"]
    assert "the attribute 'numbers' of Bad" in text
    assert "move it to one of its own beside the script" in text
    assert place.refused["__main__", "none_such"] == "__main__ has no 'none_such'"
    assert "cannot import the module 'no_such_module'" in place.refused["no_such_module", ""]
    assert place.find("__main__", "Price").rate == 1


def test_what_cannot_be_made_is_refused_there(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    supplies = Supplies("key", frozenset())
    supplies.ask("__main__\tPrice\n__main__\tBase")
    with monkeypatch.context() as broken:
        broken.setattr(
            making,
            "_class",
            lambda place, meta, called, bases, body: [][1] if called == "Price" else meta(called, bases, body),
        )
        place = given(supplies, StandIns(), monkeypatch)
    assert "Price of __main__ cannot be made in a worker: IndexError" in place.refused["__main__", "Price"]
    assert place.find("__main__", "Base").__name__ == "Base"
