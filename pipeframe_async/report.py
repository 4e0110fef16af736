"""The books of a run that has ended, as a value that prints as a table. Nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from pipeframe_async.stats import EndedBy, StepReport

NOTABLE_SETUP = 0.1
"""Seconds of `setup` that the report speaks of. Less is what every worker takes to load its steps."""

NOTABLE_SKIPPING = 0.1
"""Seconds of passing over what is done already that the report speaks of."""

COLUMNS = 60
"""Characters of a line of the report; of a wider one a narrow terminal breaks each row in two."""


@dataclass(frozen=True, slots=True, repr=False)
class RunReport:
    """The final books of a run: `fed + emitted == skipped + delivered + filtered + failed + aborted`, always.

    Attributes:
        fed: records the feed handed over, and those before the place where a job with a checkpoint has it begin.
        skipped: records that were done in an earlier life of a job with a checkpoint.
        skipping: seconds that passing over them took, where the feed had to yield them again.
        emitted: records that fan-out added.
        delivered: results the consumer or sink took (without either: results made), `bypassed` included.
        filtered: records that ended in `DROP`, a false `keep_if` or an empty fan-out.
        failed: records with a `Failure`.
        aborted: records whose outcome was given up, by a stop that ran out of time, a cancel or an error.
        retried: attempts after the first.
        re_executed: records run again because their worker was lost or their bytes could not be read.
        worker_restarts: workers replaced during the run.
        ack_errors: calls of `ack`, `nack` or `on_progress` that raised; each is logged.
        elapsed: seconds from start to end.
        redelivered, reconnects, lag: a live source's, as `SourceCounts` has them, at the end.
        setup: seconds that loading the steps and `setup` took in a worker, the one that took longest.
        ended_by: `"exhausted"`, `"idle"`, `"stopped"`, `"failed"` or `"cancelled"`.
        steps: one `StepReport` a step.
        bottleneck: a sentence that says what bounded the run.
        counters: what steps have counted, by name (`pipeframe_async.count`).
        teardowns: what the pipeline's `teardown` has returned: one value for each worker that had its steps, in no
            order. It fills when workers end, which is before `run` returns; in an open frame, when that is left, and
            then the reports of all runs of the pipeline have them all. A worker that died has none, nor have those of
            a cluster or of an executor of yours.
    """

    fed: int = 0
    delivered: int = 0
    bypassed: int = 0
    filtered: int = 0
    failed: int = 0
    aborted: int = 0
    retried: int = 0
    re_executed: int = 0
    worker_restarts: int = 0
    elapsed: float = 0.0
    ended_by: EndedBy = "exhausted"
    steps: tuple[StepReport, ...] = ()
    bottleneck: str = ""
    emitted: int = 0
    ack_errors: int = 0
    setup: float = 0.0
    redelivered: int = 0
    reconnects: int = 0
    lag: int | None = None
    skipped: int = 0
    skipping: float = 0.0
    counters: Mapping[str, int] = field(default_factory=dict)
    teardowns: list[Any] = field(default_factory=list, compare=False)

    def __repr__(self) -> str:
        return f"<RunReport {self.ended_by} after {duration(self.elapsed)}: {', '.join(self._books())}>"

    def __str__(self) -> str:
        rate = (self.fed - self.skipped) / self.elapsed if self.elapsed > 0 else 0.0
        head = f"{self.ended_by} after {duration(self.elapsed)} · {rate:,.{2 if 0 < rate < 10 else 0}f} records/s"
        return "\n".join([head, *_lines(self._books()), *self._step_rows(), *self._sentences()])

    def _repr_html_(self) -> str:
        """The same for a notebook: the table as one."""
        books = " · ".join(self._books() if self.fed else ["nothing was fed"])
        head = f"<p><b>{self.ended_by}</b> after {duration(self.elapsed)} · {books}</p>"
        columns = ("step", "where", "calls", "total", "mean", "p50", "p99", "max")
        rows = [
            [escape(s.name), s.where, f"{s.calls:,}", *map(duration, (s.seconds, s.mean, s.p50, s.p99, s.max))]
            for s in self.steps
            if s.calls
        ]
        cells = [f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"] if rows else []
        cells += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
        table = f"<table>{''.join(cells)}</table>" if cells else ""
        return head + table + "".join(f"<p>{escape(said)}</p>" for said in self._sentences())

    def _books(self) -> list[str]:
        """The counts, without those that are zero, where that says nothing."""
        always = ("fed", "delivered", "failed")
        counts = ("fed", "emitted", "skipped", "delivered", "bypassed", "filtered", "failed", "aborted")
        extras = ("retried", "re_executed", "worker_restarts", "ack_errors", "redelivered", "reconnects", "lag")
        shown = [name for name in (*counts, *extras) if name in always or getattr(self, name)]
        return [f"{name.replace('_', ' ')} {getattr(self, name):,}" for name in shown]

    def _sentences(self) -> list[str]:
        """What there is to say besides."""
        said = []
        if self.counters:
            said += _lines([f"{name or 'other counters'} {n:,}" for name, n in sorted(self.counters.items())])
        if self.skipping >= NOTABLE_SKIPPING:
            said.append(f"passing over what was done before took {duration(self.skipping)}")
        if self.setup >= NOTABLE_SETUP:
            said.append(f"loading the steps and setup took {duration(self.setup)} in a worker")
        return [*said, self.bottleneck] if self.bottleneck else said

    def _step_rows(self) -> list[str]:
        """A table of 60 columns; a step whose name is too long for its column has that in a line of its own."""
        if not any(step.calls for step in self.steps):
            return []
        columns = ("total", "mean", "p50", "p99", "max")
        rows = [f"{'step':<9} {'where':<6} {'calls':>8}" + "".join(f"{column:>7}" for column in columns)]
        for s in self.steps:
            times = "".join(f"{_short(t):>7}" for t in (s.seconds, s.mean, s.p50, s.p99, s.max))
            if len(s.name) > 9:
                rows.append(s.name)
            calls = f"{s.calls}" if s.calls < 10**8 else f"{s.calls // 10**6}M"
            rows.append(f"{s.name if len(s.name) <= 9 else '':<9} {s.where[:6]:<6} {calls:>8}{times}")
        return rows


def _lines(books: list[str]) -> list[str]:
    """The counts in lines that fit."""
    lines = [books[0]]
    for count in books[1:]:
        if len(lines[-1]) + len(" · ") + len(count) <= COLUMNS:
            lines[-1] += f" · {count}"
        else:
            lines.append(count)
    return lines


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `850 ns`, `12.5 µs`, `3.20 ms`, `1.75 s`, `2 min 05 s`."""
    if seconds >= 120:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    for scale, unit, digits in ((1.0, "s", 2), (1e-3, "ms", 2), (1e-6, "µs", 1)):
        if round(seconds / scale, digits) >= 1:
            return f"{seconds / scale:.{digits}f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _short(seconds: float) -> str:
    """The same in six characters at most, for a table: `850ns`, `12.5µs`, `3.20ms`, `1.75s`, `2m05s`, `26h03m`."""
    if seconds >= 360_000:
        return f"{int(seconds // 86_400)}d{int(seconds % 86_400 // 3600):02d}h"
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    if seconds >= 100:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if round(seconds / scale, 2) >= 1:
            figure = seconds / scale
            return f"{figure:.{2 if figure < 9.995 else 1 if figure < 99.95 else 0}f}{unit}"
    return f"{seconds * 1e9:.0f}ns"
