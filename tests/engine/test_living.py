"""Objects with a life at the ends of a run: when they are opened and closed, with what, and by whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pipeframe_async import Delivery, DrainTimeout, FeedError, PipelineFailed, SinkError, StateError
from pipeframe_async.testing import FakeExecutor
from tests.engine.harness import FakeFrame, Through, failing, settled

pytestmark = pytest.mark.virtual_clock


class Living:
    """Says what happens to it; `raises` has what its methods raise, by their names, `pause` the seconds they take."""

    def __init__(self, name: str, said: list[Any], raises: dict[str, OSError] | None = None) -> None:
        self.name = name
        self.said = said
        self.raises = raises or {}
        self.pause = dict[str, float]()

    async def _say(self, verb: str, *more: Any) -> None:
        self.said.append((self.name, verb, *more))
        await asyncio.sleep(self.pause.get(verb, 0.0))
        if verb in self.raises:
            raise self.raises[verb]

    async def __aenter__(self) -> None:
        await self._say("enter")

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        await self._say("leave", *(() if error is None else (kind.__name__,)))

    def verbs(self) -> list[str]:
        return [verb for name, verb, *_ in self.said if name == self.name]


class Fed(Living):
    """A source of three deliveries."""

    records: tuple[int, ...] = (0, 1, 2)

    async def __aiter__(self) -> AsyncIterator[Delivery[int]]:
        for record in self.records:
            yield Delivery(record, f"key {record}", self._ack, self._nack)
        if "iterate" in self.raises:
            raise self.raises["iterate"]

    async def _ack(self) -> None:
        await asyncio.sleep(1.0)
        self.said.append((self.name, "ack"))

    async def _nack(self, failure: Any) -> None:
        self.said.append((self.name, "nack", failure and failure.error_type))


class Written(Living):
    """A sink."""

    async def write(self, records: list[Any]) -> None:
        await self._say("write", *records)


class Ends(Through):
    """A pipeline with all three."""

    sink: Any
    dead_letter: Any

    def __init__(self, said: list[Any], **raises: dict[str, OSError]) -> None:
        super().__init__(Fed("feed", said, raises.get("feed")))
        self.sink = Written("sink", said, raises.get("sink"))
        self.dead_letter = Written("dead_letter", said, raises.get("dead_letter"))


async def test_they_are_opened_before_the_first_record_and_closed_after_the_last_answer() -> None:
    said: list[Any] = []
    report = await FakeFrame(FakeExecutor()).run(Ends(said))
    assert report.delivered == 3
    assert said[:3] == [("feed", "enter"), ("dead_letter", "enter"), ("sink", "enter")]
    assert said[-6:] == [
        ("feed", "ack"),
        ("feed", "ack"),
        ("feed", "ack"),
        ("sink", "leave"),
        ("dead_letter", "leave"),
        ("feed", "leave"),
    ]


@pytest.mark.parametrize("broken", ["feed", "dead_letter", "sink"])
async def test_one_that_cannot_be_opened_ends_the_run_and_those_before_it_are_closed(broken: str) -> None:
    said: list[Any] = []
    frame, kind = FakeFrame(FakeExecutor()), FeedError if broken == "feed" else SinkError
    with pytest.raises(kind, match=f"the {broken} of Ends, .* could not be opened: OSError: no") as caught:
        await frame.run(Ends(said, **{broken: {"enter": OSError("no")}}))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.report is not None
    entered = [name for name, verb, *_ in said if verb == "enter" and name != broken]
    assert [name for name, verb, *_ in said if verb == "leave"] == entered[::-1]
    settled(frame)


@pytest.mark.parametrize("broken", ["feed", "dead_letter", "sink"])
async def test_one_that_cannot_be_closed_is_the_error_of_the_run_and_the_others_hear_of_it(broken: str) -> None:
    said: list[Any] = []
    with pytest.raises(
        (FeedError, SinkError), match=f"the {broken} of Ends, .* could not be closed: OSError"
    ) as caught:
        await FakeFrame(FakeExecutor()).run(Ends(said, **{broken: {"leave": OSError("disk full")}}))
    assert caught.value.report is not None
    assert caught.value.report.delivered == 3
    left = {name: more for name, verb, *more in said if verb == "leave"}
    assert left["feed"] == ([] if broken == "feed" else ["SinkError"])


async def test_they_hear_of_what_has_ended_the_run() -> None:
    said: list[Any] = []
    with pytest.raises(FeedError):
        await FakeFrame(FakeExecutor()).run(Ends(said, feed={"iterate": OSError("gone")}))
    assert [entry for entry in said if entry[1] == "leave"] == [
        ("sink", "leave", "FeedError"),
        ("dead_letter", "leave", "FeedError"),
        ("feed", "leave", "FeedError"),
    ]


async def test_too_many_failures_are_such_an_error() -> None:
    said: list[Any] = []
    ends = Ends(said)
    ends.steps, ends.max_failures = [failing], 0
    with pytest.raises(PipelineFailed):
        await FakeFrame(FakeExecutor()).run(ends)
    assert ("sink", "leave", "PipelineFailed") in said


async def test_what_a_dead_letter_has_taken_is_acked_and_what_nobody_has_is_nacked() -> None:
    said: list[Any] = []
    ends = Ends(said)
    ends.steps = [failing]
    await FakeFrame(FakeExecutor()).run(ends)
    assert [entry for entry in said if entry[0] == "feed"][1:-1] == [("feed", "ack")] * 3
    del said[:]
    ends = Ends(said)
    ends.steps, ends.max_failures, ends.dead_letter = [failing], None, None
    await FakeFrame(FakeExecutor()).run(ends)
    assert [entry for entry in said if entry[0] == "feed"][1:-1] == [("feed", "nack", "ValueError")] * 3


async def test_a_cancelled_run_closes_them_once_and_all_of_them() -> None:
    said: list[Any] = []
    ends = Ends(said)
    ends.sink.pause["write"] = 50.0
    running = asyncio.ensure_future(FakeFrame(FakeExecutor()).run(ends))
    await asyncio.sleep(10.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [entry for entry in said if entry[1] == "leave"] == [
        (name, "leave", "CancelledError") for name in ("sink", "dead_letter", "feed")
    ]


async def test_a_run_that_is_cancelled_while_one_is_opened_closes_the_others() -> None:
    said: list[Any] = []
    ends = Ends(said)
    ends.sink.pause["enter"] = 50.0
    running = asyncio.ensure_future(FakeFrame(FakeExecutor()).run(ends))
    await asyncio.sleep(10.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [entry[0] for entry in said if entry[1] == "leave"] == ["dead_letter", "feed"]


async def test_a_run_that_is_stopped_while_one_is_opened_ends_in_good_order() -> None:
    said: list[Any] = []
    ends = Ends(said)
    ends.sink.pause["enter"] = 50.0
    frame = FakeFrame(FakeExecutor())
    running = asyncio.ensure_future(frame.run(ends))
    await asyncio.sleep(10.0)
    frame.stop()
    report = await running
    assert (report.ended_by, report.fed) == ("stopped", 0)
    assert [entry for entry in said if entry[1] == "leave"] == [("dead_letter", "leave"), ("feed", "leave")]


async def test_one_that_does_not_close_is_left_behind() -> None:
    ends = Ends([])
    ends.sink.pause["leave"] = 100.0
    with pytest.raises(DrainTimeout, match="the sink of Ends, Written did not close within 30 s"):
        await FakeFrame(FakeExecutor()).run(ends)


@pytest.mark.parametrize("role", ["feed", "sink", "dead_letter"])
async def test_one_that_is_in_use_is_refused_by_name_and_free_again_afterwards(role: str) -> None:
    said: list[Any] = []
    first, second = Ends(said), Ends([])
    shared = getattr(first, role)
    setattr(second, role, shared)
    first.sink.pause["leave"] = 20.0
    running = asyncio.ensure_future(FakeFrame(FakeExecutor()).run(first))
    await asyncio.sleep(10.0)
    with pytest.raises(StateError, match=f"the {role} of Ends, {type(shared).__name__} is in use already"):
        await FakeFrame(FakeExecutor()).run(second)
    assert (await running).delivered == 3
    assert (await FakeFrame(FakeExecutor()).run(second)).delivered == 3


async def test_one_that_may_be_shared_is_not_refused() -> None:
    said: list[Any] = []
    first, second = Ends(said), Ends([])
    second.sink = first.sink
    first.sink.shared = True
    frame = FakeFrame(FakeExecutor())
    await asyncio.gather(frame.run(first), frame.run(second))
    assert first.sink.verbs().count("leave") == 2


async def test_of_a_stream_the_sink_is_left_alone() -> None:
    said: list[Any] = []
    async with FakeFrame(FakeExecutor()).stream(Ends(said)) as results:
        assert [record async for record in results] == [0, 1, 2]
    assert {entry[0] for entry in said if entry[1] in ("enter", "leave")} == {"feed", "dead_letter"}


async def test_a_stream_that_is_left_early_closes_its_feed() -> None:
    said: list[Any] = []
    async with FakeFrame(FakeExecutor()).stream(Ends(said)) as results:
        async for _ in results:
            break
    assert said[-1] == ("feed", "leave")


class InThread:
    """A source and sink of plain functions, which keeps the threads they were called in."""

    def __init__(self) -> None:
        self.threads: dict[str, str] = {}
        self.taken: list[Any] = []

    def _say(self, verb: str) -> None:
        self.threads[verb] = threading.current_thread().name

    def __enter__(self) -> None:
        self._say("enter")

    def __exit__(self, *error: object) -> None:
        self._say("leave")

    def __iter__(self) -> Iterator[int]:
        yield from range(3)

    def write(self, records: list[Any]) -> None:
        self._say("write")
        self.taken += records


class Slow(InThread):
    """A sink that is opened when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.go_on, self.left = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> None:
        self.opening.set()
        assert self.go_on.wait(10)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.left.set()


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_one_that_a_thread_is_opening_as_the_run_ends_is_closed_by_that_thread(way: str) -> None:
    sink, frame = Slow(), FakeFrame(FakeExecutor())
    running = asyncio.ensure_future(frame.run(Through([1], sink=sink)))
    while not sink.opening.is_set():
        await asyncio.sleep(0.0)
    frame.stop() if way == "stop" else running.cancel()
    await asyncio.wait([running])
    with pytest.raises(StateError, match="in use"):
        await frame.run(Through([1], sink=sink))
    sink.go_on.set()
    assert sink.left.wait(10)
    assert sink.threads == {"leave": "pipeframe-sink_0"}


async def test_one_that_a_thread_could_not_open_leaves_no_thread() -> None:
    class Broken(InThread):
        def __enter__(self) -> None:
            raise OSError("no")

    with pytest.raises(FeedError, match="could not be opened: OSError: no"):
        await FakeFrame(FakeExecutor()).run(Through(Broken()))
    for thread in threading.enumerate():
        if thread.name == "pipeframe-feed_0":
            thread.join(10)
            assert not thread.is_alive()


class Scoped(Written):
    """A sink that is open inside something that cancels its task: a task group or a timeout."""

    def __init__(self, said: list[Any], scope: Any) -> None:
        super().__init__("sink", said)
        self.scope = scope

    async def __aenter__(self) -> None:
        await self.scope.__aenter__()
        if isinstance(self.scope, asyncio.TaskGroup):
            self.scope.create_task(self._breaks())

    async def _breaks(self) -> None:
        await asyncio.sleep(0.5)
        raise OSError("the server is gone")

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        await self.scope.__aexit__(kind, error, traceback)


@pytest.mark.parametrize("scope", [asyncio.TaskGroup, lambda: asyncio.timeout(0.5)])
async def test_what_a_task_group_or_timeout_of_an_object_says_is_the_error_and_no_cancel(scope: Any) -> None:
    ends = Ends(said := list[Any]())
    ends.sink = Scoped(said, scope())
    ends.dead_letter.pause["leave"] = 1.0
    with pytest.raises(SinkError, match=r"Scoped could not be closed: (ExceptionGroup|TimeoutError)"):
        await FakeFrame(FakeExecutor()).run(ends)
    assert [entry for entry in said if entry[1] == "leave"] == [
        ("dead_letter", "leave", "SinkError"),
        ("feed", "leave", "SinkError"),
    ]


async def test_a_cancel_from_outside_stays_one_whatever_closing_raises() -> None:
    ends = Ends([], sink={"leave": OSError("disk full")})
    running = asyncio.ensure_future(FakeFrame(FakeExecutor()).run(ends))
    await asyncio.sleep(0.5)  # acks take longer
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_plain_functions_of_a_sink_are_called_in_one_thread() -> None:
    sink = InThread()
    ends = Through(InThread(), sink=sink, timeout=None)
    await FakeFrame(FakeExecutor()).run(ends)
    assert sink.taken == [0, 1, 2]
    assert set(sink.threads) == {"enter", "write", "leave"}
    assert set(sink.threads.values()) == {"pipeframe-sink_0"}
    assert set(ends.feed.threads.values()) == {"pipeframe-feed_0"}


class Keyed(Written):
    """A sink that asks for keys."""

    async def write(self, records: list[Any], keys: list[object]) -> None:  # type: ignore[override]
        self.said += zip(keys, records, strict=True)


async def test_a_sink_that_asks_for_them_is_given_the_keys_of_the_deliveries() -> None:
    def twice(record: int) -> Iterator[tuple[int, bool]]:
        for _ in range(record):
            yield record, True

    ends, keys = Ends([]), list[Any]()
    ends.steps, ends.sink = [twice], Keyed("sink", keys)
    await FakeFrame(FakeExecutor()).run(ends)
    written = [entry for entry in keys if entry[0] != "sink"]
    assert written == [("key 1", 1), ("key 2", 2), ("key 2", 2)]


async def test_records_that_came_without_a_key_have_none() -> None:
    keys: list[Any] = []
    await FakeFrame(FakeExecutor()).run(Through([7], sink=Keyed("sink", keys)))
    assert (None, 7) in keys
