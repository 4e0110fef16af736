"""What is made of definitions where they are read; `tests/executors/defining/` has both ends of it."""

from __future__ import annotations

import contextvars
import linecache
import pickle
import threading
import typing

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.standin import StandIns


def packed(value: object, *, home: str = "another", sources: dict[str, str] | None = None) -> bytes:
    head = making.Head(home, {"__main__": {"__file__": "/a/script.py"}}, False, sources or {})
    return making.MAGIC + pickle.dumps(tuple(head)) + pickle.dumps(value)


def test_bytes_of_another_process_have_a_place_and_those_of_this_one_have_none() -> None:
    assert making.standins_for(packed(1)) is not None
    assert making.standins_for(packed(1, home=standin.home)) is None
    assert making.standins_for(pickle.dumps(1)) is None


def test_a_plain_pickle_is_read_as_it_is() -> None:
    assert making.load(pickle.dumps([1]), None) == [1]


def test_modules_say_of_themselves_what_those_at_home_do() -> None:
    standins = StandIns()
    assert making.load(packed([1]), standins) == [1]
    assert vars(standins.module("__main__"))["__file__"] == "/a/script.py"


def test_lines_of_what_is_no_file_are_there_for_tracebacks() -> None:
    making.load(packed(1, sources={"<a cell>": "first\nsecond\n"}), StandIns())
    assert linecache.getline("<a cell>", 2) == "second\n"
    linecache.cache.pop("<a cell>")


def test_something_that_refers_to_itself_is_made_once() -> None:
    standins = StandIns()
    with standin.loads_into(standins):
        inner = making.named("__main__", "fib", making.cache, 3, False, len)
        assert making.named("__main__", "fib", making.cache, 3, False, len) is inner
    with standin.loads_into(standins):
        assert making.named("__main__", "fib", making.cache, 3, False, len) is not inner


def test_a_context_variable_has_its_default_or_none() -> None:
    assert contextvars.Context().run(making.context_var("user", "nobody").get) == "nobody"
    assert contextvars.Context().run(making.context_var("user").get, "none") == "none"


def test_a_new_type_is_of_the_module_it_was_made_in() -> None:
    user: typing.Any = making.new_type("UserId", "__main__", "UserId", int)
    assert (user.__module__, user.__qualname__, user.__supertype__) == ("__main__", "UserId", int)


def test_a_value_comes_out_of_its_box() -> None:
    lock = threading.Lock()
    assert making.opened(making.Box([lock, None])) is lock
    assert making.opened([1]) == [1]
