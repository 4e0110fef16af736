"""A program no worker can import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = """
import dataclasses, enum, functools, threading, typing
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
Number = typing.NewType("Number", int)
Many = typing.ParamSpec("Many")
Kind = typing.TypeVar("Kind", bound=int)
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
