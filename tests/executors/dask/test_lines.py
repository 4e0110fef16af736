"""What the steps of a lane log, on its way to the client."""

from __future__ import annotations

import pytest

from pipeframe_async._worker.forwarding import Chunk
from pipeframe_async._worker.wanted import Wanted
from pipeframe_async.executors.dask import lines
from pipeframe_async.executors.dask.lines import Lines


def test_lines_are_taken_once_with_the_tickets_of_their_batches() -> None:
    kept = Lines()
    kept.put(Chunk(2, 0, b"two"), "lane", {5: (17,), 6: None})
    kept.put(Chunk(1, 3, b"one"), "lane", {6: (18,)})
    assert [tuple(told) for told in kept.take()] == [(2, 0, b"two", {5: 17}), (1, 3, b"one", {6: 18})]
    assert kept.take() == []


def test_what_is_too_much_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_BYTES", 5)
    kept = Lines()
    for _ in range(3):
        kept.put(Chunk(2, 1, b"1234"), "lane", {})
    assert [told[:2] for told in kept.take()] == [(2, 1), (0, 6)]
    kept.put(Chunk(2, 0, b"1234"), "lane", {})
    assert [told[:2] for told in kept.take()] == [(2, 0)]


def test_nothing_is_wanted_before_the_client_has_said_so() -> None:
    kept = Lines()
    assert kept.wanted() is None
    wanted = Wanted(0, (), ())
    kept.want(wanted)
    assert kept.wanted() is wanted
