"""Steps that have many records at once, and the ordinary ones between them.

Comes in: the records of a batch. Goes out: a `Tally`, as if each of them had gone by itself. A chain is cut at its
vectorized steps into legs, which are chains. Records go in groups, a group through one leg or call after the other: as
many as it takes until the largest call is full, so that what is in memory is bounded, and a death costs one group.

    records ─► leg ─► call ─► leg ─► call ─► leg ─► settled
                └───────────────┴── those that bypass the rest: to what encodes results, and to their places

It knows nothing of bytes, processes or time limits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from time import perf_counter_ns, time_ns
from typing import Any, NamedTuple, Protocol

from pipeframe_async._worker import codec, forks
from pipeframe_async._worker.cursor import BEGUN, END, INDEX, STEP
from pipeframe_async._worker.tally import Tally
from pipeframe_async.failures import WrongShape, rows_of
from pipeframe_async.model import DROP
from pipeframe_async.steps import Vectorize
from pipeframe_async.wire import ChainSpec, Live, StepTrace, WireFailure, owners

Where = tuple[int, ...]
"""What tells a value from all others, and orders them: its record's index, and where that has fanned out the path."""
Fails = Callable[[int, int, BaseException], WireFailure]
"""Makes a failure: of a record's index, the step, and what was raised."""


class Runs(Protocol):
    """Takes records through steps that have one at a time: a `Chain`."""

    def run(self, records: Sequence[Any], cells: Any, tally: Tally | None = None) -> Tally:
        """Take each through them."""

    def prepare(self) -> None:
        """The steps are what they are from now on."""


class Leg(NamedTuple):
    """So many consecutive ordinary steps of a chain, from the one at `offset` on, as a chain."""

    offset: int
    size: int
    chain: Runs


def is_vectorized(spec: ChainSpec) -> bool:
    """Whether some of its steps have many records at once; of a chain in segments, each is asked by itself."""
    return not spec.segments and any(isinstance(step, Vectorize) for step in spec.steps)


class Vector:
    """A chain with vectorized steps.

    Args:
        spec: the chain.
        made: makes a chain of a leg.
        fails: makes a failure.
    """

    def __init__(self, spec: ChainSpec, made: Callable[[ChainSpec], Runs], fails: Fails) -> None:
        self.names = spec.names
        self.pipeline_name = spec.pipeline_name
        self.fails = fails
        calls = [(at, step) for at, step in enumerate(spec.steps) if isinstance(step, Vectorize)]
        begins, ends = [0, *(at + 1 for at, _ in calls)], [*(at for at, _ in calls), len(spec.steps)]
        self.first, *legs = [_leg(spec, made, *leg) for leg in zip(begins, ends, strict=True)]
        self.rest = [*zip(calls, legs, strict=True)]
        self.encode = _leg(spec, made, len(spec.steps) - 1, len(spec.steps)) if spec.encodes else None
        self.most = max(step.size for _, step in calls)

    def prepare(self) -> None:
        """Write out the loops of its legs."""
        for leg in (self.first, *(leg for _, leg in self.rest), self.encode):
            if leg is not None:
                leg.chain.prepare()

    def run(self, records: Sequence[Any], cells: Any, tally: Tally) -> Tally:
        """As `Chain.run`; all comes of it at once, and never in portions."""
        tally.settled = 0
        while tally.settled < len(records):
            group = Group(self, cells, tally, tally.settled)
            group.gather(records)
            cells[BEGUN] = group.end
            for (position, step), leg in self.rest:
                group.call(position, step)
                group.take(leg)
            group.settle()
            cells[BEGUN] = 0
            tally.settled = group.end
        return tally


class Group:
    """Records that go through the steps of a chain together, from `begin` up to `end`.

    Attributes:
        wheres, values: what goes on now, in order.
        ahead: what has bypassed the rest, with where it is.
    """

    def __init__(self, vector: Vector, cells: Any, tally: Tally, begin: int) -> None:
        self._vector = vector
        self.names, self.pipeline_name = vector.names, vector.pipeline_name
        self._cells = cells
        self._tally = tally
        self.begin = self.end = begin
        self.wheres: list[Where] = []
        self.values: list[Any] = []
        self.ahead: list[tuple[Where, Any]] = []
        self._yielded: dict[Where, Any] = {}  # children as they came of their generators
        self._failures: list[WireFailure] = []
        self._filtered = 0
        self._grown: defaultdict[int, int] = defaultdict(int)

    def gather(self, records: Sequence[Any]) -> None:
        """Take records through the first leg, until as many have come of it as a call may have."""
        wheres, values, most = list[Where](), list[Any](), self._vector.most
        while len(values) < most and self.end < len(records):
            begin, self.end = self.end, min(len(records), self.end + most - len(values))
            self.wheres = [(index,) for index in range(begin, self.end)]
            self.values = [*records[begin : self.end]]
            self.take(self._vector.first)
            wheres += self.wheres
            values += self.values
        self.wheres, self.values = wheres, values

    def take(self, leg: Leg | None) -> None:
        """Take what goes on through a leg; some of it may fail there, fan out, or bypass the rest."""
        if leg is None or not self.values:
            return
        wheres, values, bypass_at = self._through(leg, self.wheres, self.values)
        if bypass_at:
            self._bypass(leg, [wheres[at] for at in bypass_at], [values[at] for at in bypass_at])
            ahead = frozenset(bypass_at)
            wheres = [where for at, where in enumerate(wheres) if at not in ahead]
            values = [value for at, value in enumerate(values) if at not in ahead]
        self.wheres, self.values = wheres, values

    def _bypass(self, leg: Leg, wheres: list[Where], values: list[Any]) -> None:
        """They pass over the steps behind this leg, but not over what encodes results, which is in the last one."""
        encode = self._vector.encode
        if encode is not None and leg is not self._vector.rest[-1][1]:
            wheres, values, _ = self._through(encode, wheres, values)
        self.ahead += zip(wheres, values, strict=True)

    def _through(self, leg: Leg, wheres: list[Where], values: list[Any]) -> tuple[list[Where], list[Any], list[int]]:
        """What comes of values in a leg: where it is, what it is, and which of it bypasses the rest."""
        tally = Tally(leg.size, live=self._tally.live)
        tally.origins = {}
        if traced := self._tally.traced:
            tally.traced = {at: traced[where[0]] for at, where in enumerate(wheres) if where[0] in traced}
        self._cells[STEP] = leg.offset
        leg.chain.run(values, _Cells(self._cells, wheres, leg.offset), tally)
        self._count(leg, wheres, tally)
        if tally.spans or tally.origins:
            wheres = [wheres[at] for at in owners(0, len(wheres), tally.spans)]
        for at, origin in tally.origins.items():
            wheres[at] += origin.path
            self._yielded[wheres[at]] = origin.child
        return wheres, tally.results, tally.bypass_at

    def _count(self, leg: Leg, wheres: list[Where], tally: Tally) -> None:
        """Enter what a leg has counted, by the indices of records and the numbers of steps in the chain."""
        whole = self._tally
        self._filtered += tally.filtered
        for at, more in tally.grown.items():
            self._grown[wheres[at][0]] += more
        for failure in tally.failures:
            self._fail(wheres[failure.at], failure._replace(step=leg.offset + failure.step))
        for step in range(leg.size):
            at = leg.offset + step
            whole.calls[at] += tally.calls[step]
            whole.samples[at] += tally.samples[step]
            if tally.most[step] > whole.most[at]:
                whole.most[at], whole.slowest[at] = tally.most[step], wheres[tally.slowest[step]][0]
        whole.trace += [step._replace(at=wheres[step.at][0], step=leg.offset + step.step) for step in tally.trace]

    def call(self, position: int, step: Vectorize[Any, Any]) -> None:
        """Take what goes on through a vectorized step, as many at once as it has."""
        wheres, values = self.wheres, self.values
        self.wheres, self.values = [], []
        for begin in range(0, len(values), step.size):
            those = wheres[begin : begin + step.size]
            started = perf_counter_ns()
            self._tried(position, step, those, values[begin : begin + step.size])
            self._took(position, those, perf_counter_ns() - started)

    def _tried(self, position: int, step: Vectorize[Any, Any], wheres: list[Where], values: list[Any]) -> None:
        """Call it; where it raises, with one half and then the other, until one that is alone has failed.

        An answer of the wrong form or length is not looked for in halves: of which record it is cannot be told, and a
        function that returns one item for all of them would be right with one.
        """
        try:
            rows = self._called(position, step, wheres, values)
        except WrongShape as error:
            for where in wheres:
                self._fail(where, self._vector.fails(where[0], position, error))
            return
        except BaseException as error:
            if len(values) == 1:
                self._fail(wheres[0], self._vector.fails(wheres[0][0], position, error))
                return
        else:
            self._came(wheres, rows)
            return
        middle = (len(values) + 1) // 2
        self._tried(position, step, wheres[:middle], values[:middle])
        self._tried(position, step, wheres[middle:], values[middle:])

    def _called(self, position: int, step: Vectorize[Any, Any], wheres: list[Where], values: list[Any]) -> list[Any]:
        """One call, of which the cursor says how far its records go.

        Raises:
            WrongShape: it has not returned one item for each.
        """
        cells, first, end = self._cells, wheres[0][0], wheres[-1][0] + 1
        at = first if end == first + 1 else None  # for who reads the stack
        cells[STEP] = position
        cells[INDEX] = first
        cells[END] = end if at is None else 0
        try:
            with forks.kept():
                outcome = step([*values])  # a list of its own: it may be changed there, and halves are made of ours
            return rows_of(self.names[position], outcome, len(values))
        finally:
            cells[END] = 0

    def _came(self, wheres: list[Where], rows: list[Any]) -> None:
        """An answer is there."""
        kept = [at for at, row in enumerate(rows) if row is not DROP]
        if len(kept) < len(rows):
            self._filtered += len(rows) - len(kept)
            wheres, rows = [wheres[at] for at in kept], [rows[at] for at in kept]
        self.wheres += wheres
        self.values += rows

    def _took(self, position: int, wheres: list[Where], spent: int) -> None:
        """The calls for these, halves among them, took so many nanoseconds: each record has its share."""
        tally, share = self._tally, spent // len(wheres)
        tally.calls[position] += len(wheres)
        tally.samples[position] += [share] * len(wheres)
        if share > tally.most[position]:
            tally.most[position], tally.slowest[position] = share, wheres[0][0]
        if tally.traced:
            ended = time_ns()
            indices = dict.fromkeys(where[0] for where in wheres)
            tally.trace += [StepTrace(at, position, ended, share) for at in indices if at in tally.traced]

    def _fail(self, where: Where, failure: WireFailure) -> None:
        """A value has failed, or a child that a step has made of it: in the chain, that is its record's."""
        index, *path = where
        if failure.child is not None:
            own, data = failure.child
            failure = failure._replace(child=((*path, *own), data))
        elif path:
            value = self._yielded[where]
            data = Live([value]) if self._tally.live else codec.attempted(value)
            failure = failure._replace(child=(tuple(path), data))
        self._failures.append(failure._replace(at=index))

    def settle(self) -> None:
        """All of it is at its end: enter what it came to, in order."""
        tally, wheres, values = self._tally, self.wheres, self.values
        if self.ahead:
            bypassed = {where for where, _ in self.ahead}
            merged = sorted([*self.ahead, *zip(wheres, values, strict=True)], key=itemgetter(0))
            wheres, values = [where for where, _ in merged], [value for _, value in merged]
            have = len(tally.results)
            tally.bypass_at += [have + at for at, where in enumerate(wheres) if where in bypassed]
        tally.results += values
        if self._grown or len(values) < self.end - self.begin:
            made = Counter(where[0] for where in wheres)
            tally.spans.update({at: made[at] for at in range(self.begin, self.end) if made[at] != 1})
            tally.grown.update(self._grown)
        tally.failures += sorted(self._failures, key=_place)
        tally.filtered += self._filtered


def _place(failure: WireFailure) -> Where:
    return (failure.at,) if failure.child is None else (failure.at, *failure.child[0])


def _leg(spec: ChainSpec, made: Callable[[ChainSpec], Runs], begin: int, end: int) -> Leg | None:
    """The steps from `begin` up to `end`; None where there are none."""
    return Leg(begin, end - begin, made(spec.part(begin, end))) if begin < end else None


class _Cells:
    """The cursor's, for a leg: what is written as the number of a value there is the index of its record, and a step
    is one of the whole chain.
    """

    def __init__(self, cells: Any, wheres: Sequence[Where], offset: int) -> None:
        self._cells = cells
        self._wheres = wheres
        self._offset = offset

    def __setitem__(self, cell: int, value: int) -> None:
        self._cells[cell] = self._wheres[value][0] if cell == INDEX else value + self._offset

    def __getitem__(self, cells: slice) -> list[int]:
        (value,) = self._cells[cells]
        return [value - self._offset if cells.start == STEP else value]
