"""Structs of msgspec: told as `defstruct` takes them, and made again."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from pipeframe_async._worker.standin import StandIns
from pipeframe_async.executors.defining.definer import define
from pipeframe_async.executors.defining.structs import struct_of, without
from tests.executors.defining.there import made

msgspec: Any = pytest.importorskip("msgspec")

SOURCE = """
import msgspec
class Base(msgspec.Struct):
    n: int
class Item(Base, frozen=True, tag="item", rename="camel"):
    of_all: list = msgspec.field(default_factory=list)
    price: float = 2.0
    def worth(self): return self.n * self.price
class Only(msgspec.Struct, kw_only=True):
    a: int = 0
"""


@pytest.fixture
def program(program: ModuleType) -> ModuleType:
    exec(compile(SOURCE, "<structs>", "exec"), vars(program))
    return program


def test_other_classes_are_none() -> None:
    assert struct_of(int) is None


def test_its_own_fields_and_how_it_was_made(program: ModuleType) -> None:
    struct = struct_of(program.Item)
    assert struct is not None
    assert struct.fields == ("of_all", "price")
    assert struct.bases == (program.Base,)
    assert struct.options["frozen"] is True
    assert struct.options["tag"] == "item"
    assert struct.options["rename"] == {"of_all": "ofAll"}
    assert struct_of(program.Base).bases == ()  # type: ignore[union-attr]
    assert struct_of(program.Only).options["kw_only"] is True  # type: ignore[union-attr]


def test_what_its_making_gives_it_is_not_sent(program: ModuleType) -> None:
    struct = struct_of(program.Item)
    assert struct is not None
    left = without(dict(vars(program.Item)), program.Item, struct.fields)
    assert "worth" in left
    assert not [name for name in left if name.startswith("__struct_") or name in struct.fields]


def test_made_again_it_is_the_same_to_its_users(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    item, only = made(define((program.Item, program.Only)), StandIns(), monkeypatch)
    one = item(3)
    assert (one.worth(), one.of_all, item(3).of_all is one.of_all) == (6.0, [], False)
    assert msgspec.json.encode(one) == msgspec.json.encode(program.Item(3))
    assert only(a=4).a == 4
    with pytest.raises(AttributeError):
        one.price = 1
