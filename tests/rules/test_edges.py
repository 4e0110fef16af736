"""What objects at the ends of a pipeline say of themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async import ConfigError
from pipeframe_async._rules.edges import Life, edge_of, plain_function, wants_keys, writes


class Plain:
    def write(self, records: list[Any]) -> None: ...


class Async(Plain):
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


class Both(Async):
    shared = True

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class Half(Plain):
    def __enter__(self) -> None: ...


def test_an_object_that_is_entered_has_a_life_on_the_loop_where_it_can() -> None:
    assert edge_of(Plain(), "sink", "P") is None
    assert edge_of(Half(), "sink", "P") is None
    edge = edge_of(Async(), "sink", "P")
    assert edge is not None
    assert (edge.life, edge.shared, str(edge)) == (Life.ASYNC, False, "the sink of P, Async")
    assert (both := edge_of(Both(), "feed", "P")) is not None
    assert (both.life, both.shared) == (Life.ASYNC, True)
    assert (file := edge_of(io.StringIO(), "feed", "P")) is not None
    assert file.life is Life.SYNC


def test_what_has_no_method_for_it_writes_nothing() -> None:
    sink = Plain()
    assert writes(sink, "P.sink") == sink.write
    assert writes(sink.write, "P.sink") is None
    assert writes(5, "P.sink") is None


@pytest.mark.parametrize("kind", [list, Plain])
def test_a_class_is_refused_as_a_sink(kind: type) -> None:
    with pytest.raises(ConfigError, match=rf"P\.sink={kind.__name__} is a class: write {kind.__name__}\(\.\.\.\)"):
        writes(kind, "P.sink")


def test_an_open_file_is_refused_as_a_sink_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"P\.sink=.* is a file, which takes no lists of records: write .*sinks"):
        writes(io.StringIO(), "P.sink")


@pytest.mark.parametrize(
    ("write", "wants"),
    [
        (lambda records: None, False),
        (lambda records, keys: None, True),
        (lambda records, keys=(): None, True),
        (lambda *records: None, True),
        (lambda records, keys, more: None, False),
        (print, True),
    ],
)
def test_keys_are_wanted_by_what_can_be_called_with_them(write: Any, wants: bool) -> None:
    assert wants_keys(write) is wants


def yields(raw: Any) -> Iterator[Any]:
    yield raw


async def awaits(raw: Any) -> Any:
    return raw


class Source:
    def __init__(self, decode: Any) -> None:
        self.decode = decode


@pytest.mark.parametrize("decode", [bytes.decode, str, lambda raw: raw, dict])
def test_a_plain_function_of_one_record_decodes(decode: Any) -> None:
    assert plain_function(Source(decode), "decode", "the feed") is decode
    assert plain_function(object(), "decode", "the feed") is None


@pytest.mark.parametrize("decode", [5, yields, awaits, lambda: None, lambda raw, more: None])
def test_anything_else_is_refused_by_name(decode: Any) -> None:
    with pytest.raises(ConfigError, match=r"the feed\.decode=.*one record"):
        plain_function(Source(decode), "decode", "the feed")
