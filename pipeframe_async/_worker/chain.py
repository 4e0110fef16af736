"""The fused steps: takes the records of a batch through all of them, one record at a time.

Comes in: records as objects. Goes out: a `Tally` of results, failures as plain data, counts and times.
It knows nothing of bytes, processes or time limits; a record that fails leaves no result behind, but what had left in a
portion.

What a step returns is looked at in `unrolled.py` for speed, and here for everything else
(`_judge`), from where the children of a fan-out go on (`_advance`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import local
from time import perf_counter_ns
from types import GeneratorType
from typing import Any, NamedTuple

from pipeframe_async._worker import codec, forks
from pipeframe_async._worker.cursor import ALL, INDEX, STEP
from pipeframe_async._worker.tally import SAMPLES, FanOut, Level, Tally
from pipeframe_async._worker.unrolled import Loops
from pipeframe_async._worker.vector import Vector, is_vectorized
from pipeframe_async.failures import WrongShape, failure_of, pair_of
from pipeframe_async.model import DROP
from pipeframe_async.shared import Shared
from pipeframe_async.traceparent import no_more, within
from pipeframe_async.wire import ChainSpec, Live, WireFailure

SAMPLE_NS = 200_000
"""Work of a batch to each timed record while steps are fast: one costs 2 µs more than others, so measuring is 1 %."""
SLOW_NS = 20_000
"""A record that costs more than this is always timed: measuring is then below 2 % of the work of three steps."""


PIECE_NS = 4_000_000
"""Work of the records that are claimed at once: others may have those behind them. More keeps what waits behind a slow
record, fewer claims cost 1 µs each."""


_ENDED = object()
"""In place of another child."""

Cell = Any
"""One of the cursor's, without a dimension: `cell[()] = 3` costs a quarter less than `cells[1] = 3`."""
MAX_INDICES = 10_000
"""Indices kept as objects: 36 bytes each, and 10 ns a record saved. For longer batches they are made as they come."""
_indices: list[int] = []  # as many as the longest batch of this process has had records


class _Work(NamedTuple):
    """The records of a batch, what takes them through the steps, and where that is counted.

    Attributes:
        left: how many records went no further than each step.
    """

    loops: Loops
    tally: Tally
    indices: Sequence[int]
    records: Sequence[Any]
    index_cell: Cell
    step_cell: Cell
    left: list[int]


class Suspended(BaseException):
    """A fan-out is under way, and waits until what came of it so far has left: no step of the batch goes on."""


class Chain:
    """The steps of one pipeline, ready to run in this process; in `segments`, each segment of them."""

    def __init__(self, spec: ChainSpec) -> None:
        self.names = spec.names
        self.pipeline_name = spec.pipeline_name
        self._steps = spec.steps
        self._say_step = spec.time_limit is not None
        self._retry_on = spec.retry_on
        self._encodes = spec.encodes
        # Loops, made when `setup` has had its chance to change the steps. Each thread has its own: without a GIL what a
        # loop finds its steps in is locked for each look, and threads that share it take half as long again.
        self._own = local()
        self._pipeline = spec.pipeline
        self.segments = [Chain(segment) for segment in _segments_of(spec)] or [self]
        self.handles: Sequence[Shared[Any]] = ()  # that came with it
        self._vector = Vector(spec, Chain, self._failure) if is_vectorized(spec) else None
        self.used = 0.0  # when it was last wanted, by whoever keeps it
        self.ready = False
        self._process = os.getpid()
        self._record_ns = float(SLOW_NS)  # of the last batch: decides how many records are timed
        self._piece = 1  # records that are claimed at once

    def is_like(self, other: Chain) -> bool:
        """Whether it is the same steps of the same pipeline: then what those keep is the same too."""
        return self is other or (self._steps == other._steps and self._pipeline is other._pipeline)

    def setup(self) -> None:
        """Run the pipeline's `setup` hook, where it has one, unless that was done."""
        if not self.ready and (hook := getattr(self._pipeline, "setup", None)) is not None:
            with forks.kept():
                hook()
        self.ready = True
        for segment in self.segments:
            segment.prepare()

    def prepare(self) -> None:
        """Write out the loops of its steps, as they are now."""
        if self._vector is None:
            self._unroll()
        else:
            self._vector.prepare()

    def teardown(self) -> list[Any]:
        """Run the pipeline's `teardown` hook, where it has one and `setup` was done: what it returns, or nothing."""
        returned = []
        if self.ready and (hook := getattr(self._pipeline, "teardown", None)) is not None:
            with forks.kept():
                returned.append(hook())
        self.ready = False
        return returned

    def run(self, records: Sequence[Any], cells: Any, tally: Tally | None = None) -> Tally:
        """Take each record through the steps. Never raises what a step raises.

        Args:
            records: the batch.
            cells: the cursor's; they get the index of each record before its first step, and of a record that
                is timed, as one that is alone always is, each step.
            tally: where to count; a new one where none is given. One with a fan-out under way goes on there; after
                the call it may have one, and the records behind it have not begun.
        """
        tally = tally or Tally(len(self._steps))
        if tally.claim is not None and (self._vector is not None or tally.traced):
            tally.stop, tally.claim = tally.claim(0, len(records)), None  # at once: by the piece would part what is one
        if self._vector is not None:
            return self._vector.run(records[: tally.stop], cells, tally)
        loops, left = self._unroll(), [0] * len(self._steps)
        index_cell, step_cell = _cell(cells, INDEX), _cell(cells, STEP)
        begun = 0 if tally.under_way is None else tally.under_way.index + 1
        end = len(records) if tally.stop is None else tally.stop
        indices = _as_many_indices(len(records))
        started = perf_counter_ns()
        self._process = os.getpid()
        try:
            with forks.at_work(loops.cells, (index_cell, step_cell)):
                if (fan_out := tally.under_way) is not None:
                    index_cell[()] = fan_out.index
                    with _traced(tally, fan_out.index):
                        self._go_on(tally, fan_out, step_cell)
                work = _Work(loops, tally, indices, records, index_cell, step_cell, left)
                if tally.claim is None:
                    self._loop(work, begun, end)
                else:
                    end = self._claimed(work, begun, end)
        except Suspended:
            assert tally.under_way is not None
            count = tally.under_way.index + 1 - begun
            if tally.claim is not None:
                tally.stop = min(end, tally.claim(begun + count, ALL))  # what goes on later is its own
        else:
            if count := end - begun:
                self._record_ns = (perf_counter_ns() - started) / count
        for position, gone in enumerate(left):
            tally.calls[position] += count
            count -= gone
        return tally

    def _loop(self, work: _Work, begun: int, end: int) -> None:
        """The records from `begun` up to `end`; those that are traced one by one, and timed."""
        tally = work.tally
        for index in sorted(index for index in tally.traced if begun <= index < end) if tally.traced else ():
            self._some(work, begun, index)
            with _traced(tally, index):
                self._some(work, index, index + 1)
            begun = index + 1
        self._some(work, begun, end)

    def _claimed(self, work: _Work, begun: int, end: int) -> int:
        """The records from `begun` up to `end`, a claimed piece after the other; returns where others have the rest."""
        tally = work.tally
        assert tally.claim is not None
        while begun < end:
            piece = self._piece
            stop = tally.claim(begun, min(end, begun + piece))
            if stop <= begun:
                tally.stop = begun
                return begun
            started = perf_counter_ns()
            self._some(work, begun, stop)
            spent = perf_counter_ns() - started
            if spent > PIECE_NS:
                self._piece = max(1, piece // 2)
            elif stop == begun + piece and 2 * spent < PIECE_NS:
                self._piece = 2 * piece
            begun = stop
        return end

    def _some(self, work: _Work, begun: int, end: int) -> None:
        """The records from `begun` up to `end`, some of them timed; one alone is."""
        if begun >= end:
            return
        loops, tally, indices, records, index_cell, step_cell, left = work
        if end < len(records):
            indices, records = indices[:end], records[:end]
        stride = self._stride(end - begun)
        if stride == 1 or end == begun + 1:
            loops.timed(
                self, tally, indices[begun:], records[begun:] if begun else records, index_cell, step_cell, left
            )
            return
        for at in range(begun, end, stride):
            last = min(at + stride, end) - 1  # timed after others: what it needs is in the caches as usual
            loops.plain(self, tally, indices[at:last], records[at:last], index_cell, step_cell, left)
            alone = slice(last, last + 1)
            loops.timed(self, tally, indices[alone], records[alone], index_cell, step_cell, left)

    def _stride(self, count: int) -> int:
        """Of how many records one is timed, to go by what the last batch cost."""
        if self._record_ns >= SLOW_NS:
            return 1
        samples = min(SAMPLES, 1 + int(self._record_ns * count) // SAMPLE_NS)
        return max(1, -(-count // samples))

    def _unroll(self) -> Loops:
        loops: Loops | None = getattr(self._own, "loops", None)
        if loops is None or not loops.hold():
            loops = self._own.loops = Loops(self._steps, say_step=self._say_step, encodes=self._encodes)
        return loops

    def _unusual(self, tally: Tally, index: int, position: int, outcome: Any, step_cell: Cell) -> None:
        """A step of a loop returned something that the loop does not settle: the rest of the record's way.

        Raises:
            Suspended: it fans out, and a portion is to leave before it goes on.
        """
        forks.end_if_forked(self._process)
        step_cell[()] = position
        fan_out = FanOut(index, tally)
        try:
            self._judge(tally, fan_out, position, outcome, step_cell)
        except BaseException as error:
            forks.end_if_forked(self._process, error)
            self._fail(tally, index, step_cell[()], error)
            return
        self._go_on(tally, fan_out, step_cell)

    def _go_on(self, tally: Tally, fan_out: FanOut, step_cell: Cell) -> None:
        """Take a fan-out, where it is one, to its end.

        Raises:
            Suspended: a portion is to leave before that.
        """
        try:
            ended = self._children(tally, fan_out, step_cell)
        except BaseException as error:
            forks.end_if_forked(self._process, error)
            ended = True
            self._fail(tally, fan_out.index, step_cell[()], error)
        else:
            if ended:
                tally.settle(fan_out)
        tally.under_way = None if ended else fan_out
        if not ended:
            raise Suspended

    def _children(self, tally: Tally, fan_out: FanOut, step_cell: Cell) -> bool:
        """Each yielded `(record, keep_going)` goes on by itself and fails by itself; False where a portion is to leave.

        A generator that raises takes back what it had yielded and still is here: a record either has its children or
        fails, unless it has many.
        """
        levels, cuts = fan_out.levels, tally.cuts
        while levels:
            level = levels[-1]
            step_cell[()] = level.position
            started = perf_counter_ns()
            try:
                try:
                    item = next(level.children, _ENDED)
                finally:
                    level.spent += perf_counter_ns() - started
                if item is _ENDED:
                    tally.took(level.position, level.spent, fan_out.index)
                    levels.pop()
                    if not level.count:
                        fan_out.after = None
                        tally.filtered += 1
                        if levels and cuts is not None and cuts.due(fan_out, tally):
                            return False
                    continue
                if level.skip and cuts is not None:
                    level.skip -= 1
                    level.count += 1
                    if cuts.passed():
                        return False
                    continue
                record, keep_going = pair_of(self.names[level.position], item, "yielded")
            except BaseException as error:
                forks.end_if_forked(self._process, error)
                tally.took(level.position, level.spent, fan_out.index)
                raised = levels.pop().close(error)
                tally.back_to(level.mark)
                if not levels:
                    raise raised  # noqa: B904 - it is this error, or what came of it
                fan_out.sees(tally)
                fan_out.after = level.count if tally.left(level.mark) else None
                tally.failures.append(self._child_failure(tally, fan_out, step_cell[()], raised))
                if cuts is not None and cuts.due(fan_out, tally):
                    return False
                continue
            level.count += 1
            level.child = record
            fan_out.after = None
            self._child(tally, fan_out, level.position, record, keep_going, step_cell)
            if cuts is not None and levels[-1] is level and cuts.due(fan_out, tally):
                return False
        return True

    def _child(
        self, tally: Tally, fan_out: FanOut, position: int, record: Any, keep_going: bool, step_cell: Cell
    ) -> None:
        """One item of a fan-out goes on; one that fails or is filtered further on is one outcome too."""
        try:
            if keep_going:
                self._advance(tally, fan_out, record, position + 1, step_cell)
            else:
                self._bypass(tally, fan_out, record, step_cell)
        except BaseException as error:
            forks.end_if_forked(self._process, error)
            tally.failures.append(self._child_failure(tally, fan_out, step_cell[()], error))

    def _advance(self, tally: Tally, fan_out: FanOut, record: Any, position: int, step_cell: Cell) -> None:
        """Take a record on from `position`, timed."""
        while position < len(self._steps):
            step_cell[()] = position
            tally.calls[position] += 1
            started, outcome = perf_counter_ns(), None
            try:
                outcome = self._steps[position](record)
            finally:
                if type(outcome) is not GeneratorType:  # a generator has not begun; it is timed as it goes
                    spent = perf_counter_ns() - started
                    tally.samples[position].append(spent)  # as `took` does, which would cost as much as a trivial step
                    if spent > tally.most[position]:
                        tally.most[position], tally.slowest[position] = spent, fan_out.index
            if type(outcome) is not tuple or len(outcome) != 2 or outcome[1] is not True:
                self._judge(tally, fan_out, position, outcome, step_cell)
                return
            record = outcome[0]
            position += 1
        tally.results.append(record)
        if tally.origins is not None:
            tally.bear(fan_out)

    def _judge(self, tally: Tally, fan_out: FanOut, position: int, outcome: Any, step_cell: Cell) -> None:
        """What a step returned, when it is not `(record, True)`; a generator is only noted here."""
        if outcome is DROP:
            tally.filtered += 1
            return
        if isinstance(outcome, GeneratorType):
            skip = 0 if tally.cuts is None else tally.cuts.skip(fan_out)
            mark = tally.mark() if fan_out.levels else fan_out.mark  # nothing has come of it before its first
            fan_out.levels.append(Level(position, outcome, mark, skip))
            return
        record, keep_going = pair_of(self.names[position], outcome, "returned")
        if keep_going:
            self._advance(tally, fan_out, record, position + 1, step_cell)
        else:
            self._bypass(tally, fan_out, record, step_cell)

    def _bypass(self, tally: Tally, fan_out: FanOut, record: Any, step_cell: Cell) -> None:
        """A record passes over the steps that follow, but not over what encodes it for the sink."""
        if self._encodes:
            self._advance(tally, fan_out, record, len(self._steps) - 1, step_cell)
        else:
            tally.results.append(record)
            if tally.origins is not None:
                tally.bear(fan_out)
        tally.bypass_at.append(len(tally.results) - 1)

    def _fail(self, tally: Tally, index: int, position: int, error: BaseException) -> None:
        forks.end_if_forked(self._process, error)
        tally.failures.append(self._failure(index, position, error))
        tally.spans[index] = 0

    def _child_failure(self, tally: Tally, fan_out: FanOut, position: int, error: BaseException) -> WireFailure:
        """The failure of the child that is on its way."""
        value = fan_out.levels[-1].child
        data = Live([value]) if tally.live else codec.attempted(value)
        return self._failure(fan_out.index, position, error)._replace(child=(fan_out.child, data))

    def _failure(self, index: int, position: int, error: BaseException) -> WireFailure:
        failure = failure_of(index, position, error)
        again = isinstance(error, self._retry_on) and not isinstance(error, WrongShape)
        return failure._replace(again=True) if again else failure


@contextmanager
def _traced(tally: Tally, index: int) -> Iterator[None]:
    """The record at this index is at work; where it is in a trace, its steps are in that."""
    if (traceparent := tally.traced.get(index)) is None:
        yield
        return
    token, tally.tracing = within(traceparent), index
    try:
        yield
    finally:
        tally.tracing = -1
        no_more(token)


def _cell(cells: Any, which: int) -> Cell:
    """One cell of the cursor's; of cells that stand in for them, something to write to that passes it on."""
    if type(cells) is not memoryview:
        return _PassedOn(cells, which)
    return cells[which : which + 1].cast("B").cast("Q", shape=[])


def _segments_of(spec: ChainSpec) -> list[ChainSpec]:
    """Each segment as a chain of its own."""
    ends = [sum(spec.segments[:number]) for number in range(len(spec.segments) + 1)]
    return [spec.part(begin, end) for begin, end in pairwise(ends)]


class _PassedOn:
    """A cell of cells that make something of what is written to them."""

    __slots__ = ("_cells", "_which")

    def __init__(self, cells: Any, which: int) -> None:
        self._cells = cells
        self._which = which

    def __setitem__(self, _: tuple[()], value: int) -> None:
        self._cells[self._which] = value

    def __getitem__(self, _: tuple[()]) -> int:
        value: int = self._cells[self._which : self._which + 1][0]
        return value


def _as_many_indices(count: int) -> Sequence[int]:
    """The numbers from 0 on, `count` of them or more."""
    global _indices
    if count > MAX_INDICES:
        return range(count)
    if (indices := _indices) and len(indices) >= count:  # threads may swap the list, never change it
        return indices
    _indices = indices = list(range(min(MAX_INDICES, 2 * count)))
    return indices
