"""Spans of OpenTelemetry for runs, batches, records and steps: made in the parent, of times measured in the workers.

    run ── batch (linked to the records that it has)
    caller, or the message's ── record ── step, step …      where that trace is sampled

Only where the program has a tracer provider: else nothing is imported, and nothing made. Names of spans and attributes
are stable.

Process: the parent, on the loop.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeframe_async.contracts import RecordTrace, RunTrace
from pipeframe_async.model import AnyFailure
from pipeframe_async.report import RunReport

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

LINKS = 128
"""Links of a batch at most, as the SDK keeps by default. Records have the same link the other way."""


def traced_run(pipeline: str, kind: str) -> RunTrace | None:
    """What makes the spans of a run that begins here and now; None where the program traces nothing.

    Args:
        pipeline: its name.
        kind: `"run"`, `"stream"` or `"calls"`. Calls have no span of their run: it is as long as the program.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # nobody can have set it up
        return None
    provider = trace.get_tracer_provider()
    if type(provider).__name__ in ("ProxyTracerProvider", "NoOpTracerProvider"):
        return None
    tracer = trace.get_tracer("pipeframe_async")
    if kind == "calls":
        return Spans(tracer, pipeline, None)
    span = tracer.start_span(f"run {pipeline}", attributes={"pipeframe.pipeline": pipeline, "pipeframe.kind": kind})
    return Spans(tracer, pipeline, span)


class Spans:
    """The spans of one run.

    Args:
        tracer: makes them.
        pipeline: its name.
        run: the run's own; None where it has none.
    """

    def __init__(self, tracer: Tracer, pipeline: str, run: Span | None) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        self._pipeline = pipeline
        self._run = run
        self._under = None if run is None else trace.set_span_in_context(run)

    def record(self, position: int, context: object) -> RecordTrace | None:
        """A span for the record, where its trace is sampled."""
        from opentelemetry import trace

        try:
            under = _context_of(context)
        except Exception:  # headers of somebody else's, which are no reason to lose a record
            return None
        span_context = trace.get_current_span(under).get_span_context()
        if not span_context.is_valid or not span_context.trace_flags.sampled:
            return None
        span = self._tracer.start_span(
            f"record {self._pipeline}",
            context=under,
            attributes={"pipeframe.pipeline": self._pipeline, "pipeframe.position": position},
        )
        return RecordSpan(self._tracer, span) if span.is_recording() else None

    def batch(self, traced: Sequence[RecordTrace], *, records: int, lane: str, began: float, ended: float) -> None:
        """A span for the batch, in the run's where that is recorded, linked to its records; and they to it."""
        from opentelemetry import trace

        spans = [record.span for record in traced if isinstance(record, RecordSpan)]
        if not spans and (self._run is None or not self._run.is_recording()):
            return
        batch = self._tracer.start_span(
            f"batch {self._pipeline}",
            context=self._under,
            start_time=int(began * 1e9),
            links=[trace.Link(span.get_span_context()) for span in spans[:LINKS]],
            attributes={
                "pipeframe.pipeline": self._pipeline,
                "pipeframe.lane": lane,
                "pipeframe.records": records,
            },
        )
        batch.end(int(ended * 1e9))
        for span in spans:
            span.add_link(batch.get_span_context())

    def ended(self, report: RunReport, error: BaseException | None) -> None:
        """The run's own ends, with its counts."""
        from opentelemetry.trace import Status, StatusCode

        if self._run is None:
            return
        for name in ("fed", "delivered", "filtered", "failed", "aborted"):
            self._run.set_attribute(f"pipeframe.{name}", getattr(report, name))
        self._run.set_attribute("pipeframe.ended_by", report.ended_by)
        if error is not None:
            self._run.set_status(Status(StatusCode.ERROR, type(error).__name__))  # what it says may quote a record
        self._run.end()


class RecordSpan:
    """The span of one record, and those of its steps.

    Attributes:
        span: its own.
        traceparent: of that, as W3C has it.
    """

    def __init__(self, tracer: Tracer, span: Span) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        self.span = span
        self._under = trace.set_span_in_context(span)
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def step(self, name: str, began: int, ended: int, *, failed: bool) -> None:
        """A span for the step, as long as it was at work there."""
        from opentelemetry.trace import Status, StatusCode

        step = self._tracer.start_span(name, context=self._under, start_time=began, attributes={"pipeframe.step": name})
        if failed:
            step.set_status(Status(StatusCode.ERROR))
        step.end(ended)

    def ended(self, failure: AnyFailure | None, *, aborted: bool) -> None:
        """With what it failed of, but for the message, which may have something of the record in it."""
        from opentelemetry.trace import Status, StatusCode

        if failure is not None:
            self.span.set_attribute("pipeframe.step", failure.step)
            self.span.set_attribute("pipeframe.failure", failure.kind)
            self.span.set_attribute("error.type", failure.error_type)
            self.span.set_status(Status(StatusCode.ERROR, f"{failure.error_type} in {failure.step}"))
        elif aborted:
            self.span.set_status(Status(StatusCode.ERROR, "given up"))
        self.span.end()


def _context_of(given: object) -> Context | None:
    """The context that a record was delivered with: OpenTelemetry's own, a `traceparent`, or headers that have one."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if given is None or isinstance(given, Context):
        return given
    carrier: Mapping[Any, Any] = given if isinstance(given, Mapping) else {"traceparent": given}
    texts = {_text(name).lower(): _text(value) for name, value in carrier.items()}
    return TraceContextTextMapPropagator().extract(texts, context=Context())


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
