"""A slip of a name is told what it was meant to be, and nothing is said of a name that may be the user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pipeframe_async._rules.spelling import KINDS, misspelt, refuse_option
from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine, Retry
from pipeframe_async.sinks import JsonLines
from pipeframe_async.steps import apply


def of_one(self: Any, records: list[Any]) -> None: ...


def of_none(self: Any) -> None: ...


async def of_one_async(self: Any, records: list[Any]) -> None: ...


async def yields_async(self: Any) -> AsyncIterator[int]:
    yield 1


def yields(self: Any) -> Iterator[int]:
    yield 1


def found(*steps: Callable[..., Any], **attributes: Any) -> list[tuple[str, str]]:
    engine = type("Orders", (PipelineEngine,), attributes)
    return list(misspelt(engine(), steps))


@pytest.mark.parametrize(
    ("attribute", "value", "meant"),
    [
        ("time_out", 3.0, "timeout"),
        ("timout", 3, "timeout"),
        ("timelimit", 3, "time_limit"),
        ("time_limt", 3, "time_limit"),
        ("batchsize", 100, "batch_size"),
        ("max_failure", 3, "max_failures"),
        ("maxFailures", 0.1, "max_failures"),
        ("async_concurency", 8, "async_concurrency"),
        ("soruce", "stream", "source"),
        ("oder", "completion", "order"),
        ("rerty", Retry(3), "retry"),
        ("retries", Retry(3), "retry"),
        ("chunksize", 100, "batch_size"),
        ("check_point", "job.state", "checkpoint"),
        ("stpes", [apply(str)], "steps"),
        ("sinks", of_one, "sink"),
        ("sinks", of_one_async, "sink"),
        ("sinks", staticmethod(lambda records: None), "sink"),
        ("sinks", JsonLines("out.jsonl"), "sink"),
        ("deadletter", of_one, "dead_letter"),
        ("dead_letters", of_one_async, "dead_letter"),
        ("onprogress", of_one, "on_progress"),
        ("set_up", of_none, "setup"),
        ("tear_down", of_none, "teardown"),
        ("feeed", yields_async, "feed"),
        ("fede", yields, "feed"),
    ],
)
def test_a_slip_of_a_name_is_found_with_what_was_meant(attribute: str, value: Any, meant: str) -> None:
    assert found(**{attribute: value}) == [(attribute, meant)]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("step", [apply(str)]),
        ("step", of_one),
        ("feeds", ["a.jsonl", "b.jsonl"]),
        ("feeds", yields),
        ("feed2", yields_async),
        ("orders", ("a", "b")),
        ("orders", of_none),
        ("sources", 5),
        ("sources", "stream"),
        ("timeouts", 0),
        ("timeout_s", 5.0),
        ("http_timeout", 5.0),
        ("time_limited", True),
        ("retries", 3),
        ("checkpoints", "models/"),
        ("patch_size", 16),
        ("batch_sizes", (1, 2)),
        ("line_limit", 80),
        ("max_features", 3),
        ("resource", "stream"),
        ("sinks", of_none),
        ("sinks", ["a.jsonl"]),
        ("sinks", JsonLines),
        ("sort", "completion"),
        ("link", of_one),
        ("skin", of_one),
        ("upset", of_none),
        ("_time_out", 3.0),
        ("__slots__", ()),
    ],
)
def test_nothing_is_said_of_what_may_be_the_users_own(attribute: str, value: Any) -> None:
    assert found(**{attribute: value}) == []


@pytest.mark.parametrize("wrap", [lambda step: step, apply])
def test_a_step_may_be_called_as_it_likes(wrap: Callable[[Any], Any]) -> None:
    assert found(wrap(of_one), sinks=of_one) == []


def test_what_a_class_says_rightly_it_may_say_in_other_words_too() -> None:
    assert found(timeout=3.0, time_out=5.0) == []


def test_what_an_instance_sets_is_looked_at_too() -> None:
    class Orders(PipelineEngine):
        def __init__(self, **values: Any) -> None:
            self.__dict__ |= values

    assert list(misspelt(Orders(time_out=3, day="today", rows=[1], retries=3, concurrency=8), ())) == [
        ("time_out", "timeout")
    ]
    assert list(misspelt(Orders(time_out=3, timeout=5), ())) == []


def test_an_annotation_is_no_attribute() -> None:
    class Orders(PipelineEngine):
        time_out: float

    assert list(misspelt(Orders(), ())) == []


def test_what_a_class_inherits_of_a_pipeline_is_looked_at_and_a_mixin_is_not() -> None:
    class Mixin:
        batchsize = 3

    class Base(PipelineEngine):
        time_out = 3.0

    class Orders(Mixin, Base): ...

    assert list(misspelt(Orders(), ())) == [("time_out", "timeout")]


def of_pipeline(name: str) -> str:
    return f"belongs to the pipeline: set `{name}` in its class, or pipeline(..., {name}=...)"


def refusal(name: str, value: object = 3) -> str:
    with pytest.raises(ConfigError) as caught:
        refuse_option("run()", ["cpu_count", "name", "restart"], ["cpu_count", "name", "monitor"], {name: value})
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timeout", f"it {of_pipeline('timeout')}"),
        ("max_failures", f"it {of_pipeline('max_failures')}"),
        ("dead_letter", f"it {of_pipeline('dead_letter')}"),
        ("timeot", f"did you mean timeout? It {of_pipeline('timeout')}"),
        ("chunksize", f"did you mean batch_size? It {of_pipeline('batch_size')}"),
        ("steps", "it belongs to the pipeline: set `steps` in its class"),
        ("load", "it belongs to the run: write run(P, load=...)"),
        ("monitor", "it belongs to the frame: write PipeFrame(monitor=...)"),
        ("moniter", "did you mean monitor? It belongs to the frame: write PipeFrame(monitor=...)"),
        ("max_workers", "did you mean cpu_count?"),
        ("cpu_cuont", "did you mean cpu_count?"),
        ("colour", "there are cpu_count, name, restart"),
    ],
)
def test_an_option_that_is_none_is_told_where_it_belongs(name: str, says: str) -> None:
    assert refusal(name) == f"run() has no option {name}=3: {says}"


def test_options_that_are_there_are_not_refused() -> None:
    refuse_option("run()", ["cpu_count"], [], {"cpu_count": 3})


def test_every_knob_and_hook_of_a_pipeline_is_known() -> None:
    knobs = {name for name in PipelineEngine.__annotations__ if not name.startswith("_")}
    assert knobs | {"feed", "sink", "dead_letter", "on_progress", "setup", "teardown"} == set(KINDS)
