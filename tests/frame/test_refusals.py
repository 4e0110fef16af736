"""What is wrong is refused before anything starts, with the name, the value and the remedy."""

from __future__ import annotations

import asyncio
import inspect
import threading
import typing
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pipeframe_async
from pipeframe_async import ConfigError, PipeFrame, PipelineEngine, PipelineFailed, Retry, StateError, apply, script


def step(record: int) -> tuple[int, bool]:
    return record, True


class Fine(PipelineEngine[int, int]):
    """A pipeline with nothing wrong."""

    steps = (step,)
    started = False

    async def feed(self) -> AsyncIterator[int]:
        type(self).started = True
        yield 1


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"cpu_count": 0}, ["cpu_count=0", "at least 1", "None"]),
        ({"cpu_count": -2}, ["cpu_count=-2"]),
        ({"cpu_count": True}, ["cpu_count=True", "int"]),
        ({"cpu_count": 2.0}, ["cpu_count=2.0", "int"]),
        ({"buffer_size": 0}, ["buffer_size=0", "at least 1"]),
        ({"stream_buffer_size": -1}, ["stream_buffer_size=-1"]),
        ({"buffer_size": 1, "stream_buffer_size": 1}, ["two names for one knob"]),
        ({"buffer_bytes": 0}, ["buffer_bytes=0"]),
        ({"buffer_bytes": "1G"}, ["buffer_bytes='1G'"]),
        ({"drain_timeout": 0}, ["drain_timeout=0", "seconds"]),
        ({"call_queue": 0}, ["call_queue=0", "at least 1"]),
        ({"call_queue": None}, ["call_queue=None"]),
        ({"ship_modules": "json"}, ["ship_modules='json'", "a list of modules, or of their names"]),
        ({"ship_modules": ["no_such_module"]}, ["ship_modules", "no module 'no_such_module' here"]),
        ({"worker_timeout": 0}, ["worker_timeout=0", "seconds above 0"]),
        ({"worker_timeout": "60"}, ["worker_timeout='60'", "seconds above 0"]),
        ({"drain_timeout": float("nan")}, ["drain_timeout=nan"]),
        ({"handle_signals": 1}, ["handle_signals=1", "True or False"]),
        ({"progress": "yes"}, ["progress='yes'", "'auto'", "'plain'", "'json'", "'none'"]),
        ({"executor": "process"}, ["executor='process'", "'processes'", "'threads'", "'inline'", "'auto'", "Executor"]),
        ({"executor": 3}, ["executor=3"]),
        ({"name": 3}, ["name=3", "string"]),
        ({"max_workers": 2}, ["PipeFrame() has no option max_workers=2: did you mean cpu_count?"]),
        (
            {"max_failures": 1},
            [
                "PipeFrame() has no option max_failures=1: "
                "it belongs to the pipeline: set `max_failures` in its class, or pipeline(..., max_failures=...)"
            ],
        ),
    ],
)
def test_a_wrong_knob_of_the_frame_is_named_with_its_value_and_what_is_allowed(
    knobs: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        PipeFrame(**knobs)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_other_spelling_of_the_buffer_is_accepted() -> None:
    PipeFrame(cpu_count=1, stream_buffer_size=5)


async def agen_step(record: int) -> AsyncIterator[tuple[int, bool]]:
    yield record, True


def no_argument() -> tuple[int, bool]:
    return 1, True


def two_arguments(record: int, other: int) -> tuple[int, bool]:
    return record, True


class NotMade:
    def __call__(self, record: int) -> tuple[int, bool]:
        return record, True


class NeedsArguments(Fine):
    def __init__(self, path: str) -> None:
        self.path = path


async def coroutine_feed(self: Any) -> None:
    await asyncio.sleep(0)


def with_steps(*steps: Any) -> type[Fine]:
    return type("Wrong", (Fine,), {"steps": list(steps)})


def having(**attributes: Any) -> type[Fine]:
    return type("Wrong", (Fine,), attributes)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        (PipelineEngine, ["subclass it"]),
        (dict, ["no pipeline", "PipelineEngine"]),
        ("Orders", ["'Orders'", "no pipeline"]),
        (NeedsArguments, ["NeedsArguments", "pass an instance"]),
        (with_steps(), ["Wrong.steps is empty", "steps = ["]),
        (having(steps=step), ["Wrong.steps", "list of steps"]),
        (having(steps="parse"), ["Wrong.steps='parse'"]),
        (with_steps(step, 42), ["Wrong.steps[1]=42", "callable"]),
        (with_steps(NotMade), ["Wrong.steps[0]", "NotMade", "instance"]),
        (with_steps(apply(agen_step)), ["agen_step", "async generator", "expand()"]),
        (with_steps(no_argument), ["no_argument", "one record"]),
        (with_steps(two_arguments), ["two_arguments", "partial"]),
        (having(source="queue"), ["Wrong.source='queue'", "'batch' or 'stream'"]),
        (having(timeout=0), ["Wrong.timeout=0", "None"]),
        (having(timeout=True), ["Wrong.timeout=True"]),
        (having(order="random"), ["Wrong.order='random'", "'input'", "'completion'"]),
        (having(max_failures=-1), ["max_failures=-1"]),
        (having(max_failures=1.5), ["max_failures=1.5", "(0, 1]"]),
        (having(max_failures=True), ["max_failures=True"]),
        (having(batch_size=0), ["Wrong.batch_size=0", "None"]),
        (having(time_limit=0), ["Wrong.time_limit=0", "seconds", "None"]),
        (having(retry=3), ["Wrong.retry=3", "Retry(3)"]),
        (having(sink=[]), ["Wrong.sink", "method"]),
        (having(sink=lambda self: None), ["Wrong.sink", "one list"]),
        (having(sink=agen_step), ["Wrong.sink", "generator"]),
        (having(dead_letter=3), ["Wrong.dead_letter=3"]),
        (having(feed=None), ["Wrong has no feed", "yield"]),
        (having(feed=coroutine_feed), ["coroutine", "yield"]),
        (having(feed="orders.jsonl"), ["'orders.jsonl'", "not records"]),
        (having(feed=7), ["7 (int)", "yields nothing"]),
        (having(feed=lambda self, bucket, other: None), ["takes 2 arguments", "bucket"]),
    ],
)
async def test_a_wrong_pipeline_is_refused_with_its_name_and_the_remedy(pipeline: Any, words: list[str]) -> None:
    Fine.started = False
    with pytest.raises(ConfigError) as caught:
        await PipeFrame(1).run(pipeline)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not Fine.started


class Nothing(Fine):
    """Its feed has lost its `yield`."""

    def feed(self) -> None:  # type: ignore[override]
        pass


@pytest.mark.parametrize(
    ("pipeline", "sentence"),
    [
        (
            with_steps(str),
            "Wrong.steps[0] is the class str: apply(str) makes a step of it, where calling it with a record is what is "
            "wanted; else pass an instance that can be called",
        ),
        (
            having(steps=apply(str)),
            "Wrong.steps=<step str by Apply>: must be a list of steps; write `steps = [apply(str)]`",
        ),
        (
            Nothing,
            "the feed of Nothing returned None: is a `yield` missing in it, or a `return`? write `async def "
            "feed(self)` with `yield record`, or pass an iterable or async iterable as feed=",
        ),
        (
            having(sinks=lambda self, records: None),
            "Wrong has `sinks`, which means nothing here: did you mean `sink`? If it is your own, let its name begin "
            "with an underscore",
        ),
        (
            having(deadletter=lambda self, failures: None),
            "Wrong has `deadletter`, which means nothing here: did you mean `dead_letter`? If it is your own, let its "
            "name begin with an underscore",
        ),
        (
            having(batchsize=100),
            "Wrong has `batchsize`, which means nothing here: did you mean `batch_size`? If it is your own, let its "
            "name begin with an underscore",
        ),
        ([1], "[1] is no pipeline: pass a subclass of PipelineEngine, an instance of one, or pipeline(...)"),
    ],
)
async def test_what_is_often_meant_otherwise_is_said_in_one_sentence(pipeline: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await PipeFrame(1).run(pipeline)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("returned", "remedy"),
    [
        (1, "Does it return the next record? Then write apply(plain)"),
        (True, "Does it say yes or no? Then write keep_if(plain)"),
    ],
)
async def test_a_plain_function_as_a_step_is_told_what_makes_one_of_it(returned: Any, remedy: str) -> None:
    def plain(record: int) -> Any:
        return returned

    with pytest.raises(PipelineFailed) as caught:
        await PipeFrame(1, executor="inline").run(with_steps(plain))
    assert caught.value.failures[0].message == (
        f"step 'plain' returned {returned} ({type(returned).__name__}); expected (record, True) to go on, (record, "
        f"False) to bypass the other steps, DROP to filter, or a generator of such pairs. {remedy}"
    )


async def test_a_lambda_as_a_step_is_told_so_too() -> None:
    with pytest.raises(PipelineFailed) as caught:
        await PipeFrame(1, executor="inline").run(with_steps(lambda record: record + 1))
    assert caught.value.failures[0].message.endswith(
        " pairs. Does it return the next record? Then write apply(function)"
    )


def test_a_retry_of_a_word_is_told_what_it_takes() -> None:
    with pytest.raises(ConfigError) as caught:
        Retry("3")  # type: ignore[arg-type]
    assert str(caught.value) == "Retry(attempts='3'): must be an int of at least 2 (the first try counts)"


async def test_a_feed_that_is_a_coroutine_is_refused_and_closed() -> None:
    with pytest.raises(ConfigError, match="coroutine"):
        await PipeFrame(1).run(Fine, coroutine_feed(None))  # type: ignore[arg-type]


async def test_a_used_up_generator_is_refused() -> None:
    used: Any = iter([])
    generator = (record for record in used)
    assert list(generator) == []
    with pytest.raises(ConfigError, match="used up"):
        await PipeFrame(1).run(Fine, generator)


async def test_two_feeds_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="two names for one thing"):
        await PipeFrame(1).run(Fine, [1], load=[2])


async def test_an_option_of_another_place_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError) as caught:
        await PipeFrame(1).run(Fine, cpu_count=2)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "PipeFrame.run() has no option cpu_count=2: it belongs to the frame: write PipeFrame(cpu_count=...)"
    )
    with pytest.raises(ConfigError) as caught:
        async with PipeFrame(1).stream(Fine, timeout=3):  # type: ignore[arg-type]
            pass
    assert str(caught.value) == (
        "PipeFrame.stream() has no option timeout=3: "
        "it belongs to the pipeline: set `timeout` in its class, or pipeline(..., timeout=...)"
    )


async def test_a_step_that_cannot_be_shipped_is_named() -> None:
    lock = threading.Lock()

    def locked(record: int) -> tuple[int, bool]:
        with lock:
            return record, True

    with pytest.raises(ConfigError, match=r"step 'locked' cannot be sent to the workers.*setup\(self\)"):
        await PipeFrame(1).run(with_steps(step, locked))


async def test_a_pipeline_that_cannot_be_shipped_is_named_where_workers_need_it() -> None:
    class Holding(Fine):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def setup(self) -> None: ...

    with pytest.raises(ConfigError, match=r"Holding cannot be sent to the workers.*setup"):
        await PipeFrame(1).run(Holding())


def test_the_options_of_the_synchronous_front_are_those_of_the_frame() -> None:
    assert script.Options.__annotations__.keys() == inspect.signature(PipeFrame).parameters.keys() - {"unknown"}
    by_frame = inspect.signature(PipeFrame, eval_str=True).parameters
    by_script = typing.get_type_hints(script.Options)
    assert by_script == {name: one.annotation for name, one in by_frame.items() if name != "unknown"}


async def test_the_synchronous_front_says_what_to_write_inside_a_running_loop() -> None:
    with pytest.raises(StateError, match=r"await PipeFrame\(...\).run\(pipeline\)"):
        pipeframe_async.run(Fine)


def test_the_synchronous_front_returns_the_report() -> None:
    report = pipeframe_async.run(Fine, executor="inline")
    assert (report.fed, report.delivered, report.ended_by) == (1, 1, "exhausted")


async def test_a_frame_that_is_open_cannot_be_opened_again() -> None:
    async with PipeFrame(1, executor="inline") as frame:
        with pytest.raises(StateError, match="open already"):
            await frame.__aenter__()


async def test_a_warm_frame_says_when_it_is_used_on_another_loop() -> None:
    async with PipeFrame(1, executor="inline") as frame:
        await frame.run(Fine)
        with pytest.raises(StateError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(frame.run(Fine)))


def test_stop_without_a_run_does_nothing() -> None:
    frame = PipeFrame(1, executor="inline")
    frame.stop()
    asyncio.run(frame.run(Fine))
    frame.stop()
    assert frame.stats().delivered == 1


@pytest.mark.parametrize("knobs", [{"attempts": 1}, {"attempts": True}, {"attempts": 2, "factor": 0.5}])
def test_a_wrong_retry_is_refused_where_it_is_written(knobs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Retry"):
        Retry(**knobs)
