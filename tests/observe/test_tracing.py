"""Spans by the SDK's in-memory exporter: of runs, batches, records and steps, with times of the workers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="makes spans that can be looked at")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import StatusCode

from pipeframe_async import Delivery, PipeFrame, PipelineEngine, StepError, current_traceparent
from pipeframe_async.testing import FakeExecutor

pytestmark = pytest.mark.process

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


class Spans:
    """What has been exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def provided(monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> Spans:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return Spans(exporter)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    return provided(monkeypatch)


def id_of(span: ReadableSpan) -> int:
    number: int = span.context.span_id
    return number


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def slow(record: Any) -> tuple[Any, bool]:
    time.sleep(0.02)
    return (record, current_traceparent()), True


def failing(record: Any) -> tuple[Any, bool]:
    if record[0] == "bad":
        raise ValueError(f"secret {record}")
    return record, True


async def awaited(record: Any) -> tuple[Any, bool]:
    await asyncio.sleep(0.01)
    return (*record, current_traceparent()), True


class Mixed(PipelineEngine[Any, Any]):
    source = "stream"
    max_failures = None
    steps = (slow, failing, awaited)


@pytest.mark.parametrize("executor", ["processes", "threads", "inline"])
async def test_a_caller_s_trace_goes_on_through_batch_worker_and_async_step(spans: Spans, executor: str) -> None:
    async with PipeFrame(1, executor=executor) as frame:
        with trace.get_tracer("app").start_as_current_span("request") as request:
            _, in_worker, on_loop = await frame.call(Mixed, "good")
    record = spans.one("record Mixed")
    assert parent_of(record) == request.get_span_context().span_id
    assert in_worker == on_loop
    assert in_worker.startswith(f"00-{record.context.trace_id:032x}-{id_of(record):016x}-")
    steps = [spans.one(name) for name in ("slow", "failing", "awaited")]
    assert {parent_of(step) for step in steps} == {id_of(record)}
    batch = spans.one("batch Mixed")
    assert [link.context.span_id for link in batch.links] == [id_of(record)]
    assert id_of(batch) in [link.context.span_id for link in record.links]
    began, ended = zip(*((step.start_time, step.end_time) for step in steps), strict=True)
    assert record.start_time <= began[0] <= ended[0] <= began[1] <= ended[1] <= began[2] <= ended[2] <= record.end_time
    assert 0.019 < (ended[0] - began[0]) / 1e9 < 5


async def test_a_failed_call_says_where_and_nothing_of_the_record(spans: Spans) -> None:
    async with PipeFrame(1) as frame:
        with trace.get_tracer("app").start_as_current_span("request"), pytest.raises(StepError):
            await frame.call(Mixed, "bad")
    record, step = spans.one("record Mixed"), spans.one("failing")
    assert record.status.status_code is step.status.status_code is StatusCode.ERROR
    assert record.status.description == "ValueError in failing"
    assert spans.one("slow").status.status_code is StatusCode.UNSET
    assert "secret" not in "".join(span.to_json() for span in spans.all)


async def test_calls_outside_of_a_trace_or_in_one_that_is_not_sampled_make_no_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans = provided(monkeypatch, ParentBased(ALWAYS_OFF))
    async with PipeFrame(1) as frame:
        await frame.call(Mixed, "good")
        with trace.get_tracer("app").start_as_current_span("request"):
            assert (await frame.call(Mixed, "good"))[1] is None
    assert spans.all == []


CONTEXTS = {
    "text": SAMPLED,
    "headers": {"TraceParent": SAMPLED, "x-other": "1"},
    "bytes": {"traceparent": SAMPLED.encode()},
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
async def test_a_delivery_s_trace_goes_on(spans: Spans, context: object) -> None:
    async def feed() -> Any:
        yield Delivery("good", context=context)
        yield "good"
        yield Delivery("bad", context=NOT_SAMPLED)
        yield Delivery("good", context="nonsense")

    report = await PipeFrame(1).run(Mixed, feed)
    assert (report.fed, report.failed) == (4, 1)
    record = spans.one("record Mixed")
    assert (record.context.trace_id, parent_of(record)) == (int(TRACE, 16), int(SPAN, 16))
    assert [span.name for span in spans.all if parent_of(span) == id_of(record)] == ["slow", "failing", "awaited"]
    run = spans.one("run Mixed")
    assert all(parent_of(batch) == id_of(run) for batch in spans.named("batch Mixed"))
    assert run.attributes is not None
    assert (run.attributes["pipeframe.fed"], run.attributes["pipeframe.ended_by"]) == (4, "exhausted")


async def test_a_run_is_a_span_of_whoever_awaits_it_and_says_what_ended_it(spans: Spans) -> None:
    class Broken(Mixed):
        async def feed(self) -> Any:
            yield "good"
            raise OSError("gone")

    with trace.get_tracer("app").start_as_current_span("job") as job, pytest.raises(Exception, match="gone"):
        await PipeFrame(1).run(Broken)
    run = spans.one("run Broken")
    assert parent_of(run) == job.get_span_context().span_id
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "FeedError")  # what it says may quote


async def test_records_of_large_batches_are_found_and_no_others(spans: Spans) -> None:
    class Many(PipelineEngine[Any, Any]):
        source = "stream"
        steps = (told,)

        async def feed(self) -> Any:
            for number in range(5_000):
                yield Delivery(number, context=SAMPLED) if number % 1_000 == 17 else number

        async def sink(self, results: list[Any]) -> None:
            seen.extend(results)

    seen: list[Any] = []
    await PipeFrame(1).run(Many)
    traced = [number for number, traceparent in seen if traceparent is not None]
    assert traced == [17, 1_017, 2_017, 3_017, 4_017]
    positions: list[Any] = [(span.attributes or {})["pipeframe.position"] for span in spans.named("record Many")]
    assert sorted(positions) == traced
    assert len(spans.named("told")) == 5


def told(record: int) -> tuple[Any, bool]:
    return (record, current_traceparent()), True


async def test_a_record_that_is_given_up_ends_its_span(spans: Spans) -> None:
    class Held(PipelineEngine[Any, Any]):
        source = "stream"
        steps = (told,)

        async def feed(self) -> Any:
            yield Delivery(1, context=SAMPLED)
            await asyncio.Event().wait()

        async def sink(self, results: list[Any]) -> None:
            came.set()
            await asyncio.Event().wait()

    came = asyncio.Event()
    running = asyncio.create_task(PipeFrame(1).run(Held))
    await came.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert spans.one("record Held").status.description == "given up"


async def test_without_a_tracer_provider_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
    async with PipeFrame(1, executor=FakeExecutor(1)) as frame:
        assert (await frame.call(Other, 1)) == (1, None)


class Other(PipelineEngine[Any, Any]):
    steps = (told,)


def test_outside_of_a_step_there_is_no_traceparent() -> None:
    assert current_traceparent() is None
