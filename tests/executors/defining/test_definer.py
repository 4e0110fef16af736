"""Definitions taken apart here and made elsewhere: what is by value, what by reference, what is named."""

from __future__ import annotations

from types import ModuleType

import pytest

from pipeframe_async._worker import making
from pipeframe_async._worker.standin import StandIns
from pipeframe_async.executors.defining.definer import define
from tests.executors.defining.there import made


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


def test_what_nobody_can_send_is_refused(program: ModuleType) -> None:
    with pytest.raises(TypeError, match="generator"):
        define((program.numbers,))
