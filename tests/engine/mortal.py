"""A lane whose worker dies of what its records are, and of accidents that are given; its replies are real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeframe_async import DROP
from pipeframe_async._rules.blame import FOREIGN_POINTS, GUILTY, OWN_POINTS
from pipeframe_async._worker import codec, envelope
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed, Reply

HITS = -(-GUILTY // FOREIGN_POINTS)
"""Deaths by somebody else's hand of which a record is blamed."""
OWN_HITS = -(-GUILTY // OWN_POINTS)
"""Deaths of which it is blamed where nobody else can have done it; or nobody knows who has."""

CHAIN = ChainRef("mortal", None, 2.0)

OUTCOMES: dict[str, str] = {
    "passes": "delivered",
    "bypasses": "delivered",
    "is made three": "delivered",
    "is filtered": "filtered",
    "raises": "raised",
    "has no pickle": "unpicklable",
    "cannot be read": "unpicklable",
    "result cannot be read": "unpicklable",
    "result cannot be read at home": "unpicklable",
    "kills": "crashed",
    "kills when read": "crashed",
    "hangs": "timeout",
}
"""What a record can be, and what must become of it."""

ACCIDENTS = ["none", "none", "killed", "killed at no record", "killed while all is read", "not begun"]
"""What may happen to a worker over a part that it is given."""

at_work = False
"""Whether this process is a worker just now."""


@dataclass(frozen=True)
class Item:
    """A record; pickles as what it is."""

    place: int
    kind: str

    def __reduce__(self) -> tuple[Any, ...]:
        if self.kind == "has no pickle":
            raise ValueError("no state to give")
        return (cannot_be_read if self.kind == "cannot be read" else Item), (self.place, self.kind)


def cannot_be_read(*_: Any) -> Any:
    raise OSError("cannot be read")


def cannot_be_read_at_home() -> str:
    if not at_work:
        raise OSError("cannot be read at home")
    return "read in the worker"


@dataclass
class Unreadable:
    """A result that cannot be read anywhere, or in the parent."""

    anywhere: bool

    def __reduce__(self) -> tuple[Any, ...]:
        return (cannot_be_read if self.anywhere else cannot_be_read_at_home), ()


def step(item: Item) -> Any:
    match item.kind:
        case "passes":
            return item.place, True
        case "bypasses":
            return item.place, False
        case "is filtered":
            return DROP
        case "is made three":
            return thrice(item)
        case "raises":
            raise ValueError(item.place)
        case "result cannot be read" | "result cannot be read at home":
            return Unreadable(item.kind == "result cannot be read"), True
    raise AssertionError(f"{item} was run, and should have ended its worker")


def thrice(item: Item) -> Iterator[tuple[int, bool]]:
    for _ in range(3):
        yield item.place, True


def results_of(items: Sequence[Item]) -> list[int]:
    """What must come out, in order."""
    times = {"passes": 1, "bypasses": 1, "is made three": 3, "fails once": 1, "bypasses on the loop": 1}
    return [item.place for item in items for _ in range(times.get(item.kind, 0))]


class MortalLane:
    """Runs parts of one batch of items, in this process.

    Args:
        items: the batch.
        accidents: what happens to each part, in turn; then nothing does any more.
        saves: whether a worker's last words have what it had finished.
        vague: nobody knows at which record a worker was, as with somebody else's executor.
        together: its step has so many records at once: they live and die together.
    """

    name = "mortal lane"
    workers = slots = 1
    busy = 0

    def __init__(
        self,
        items: Sequence[Item],
        accidents: Sequence[tuple[str, int]] = (),
        *,
        saves: bool = True,
        vague: bool = False,
        together: int = 1,
    ) -> None:
        self.together = together
        self.items = items
        self.accidents = list(accidents)
        self.saves = saves
        self.vague = vague
        self.parts: list[tuple[int, int]] = []
        self._hits: Counter[int] = Counter()
        self._frames = {codec.dumps(item): item.place for item in items if item.kind != "has no pickle"}
        envelope.forget(CHAIN.key)
        envelope.install(CHAIN.key, ChainSpec(("step",), (step,), None))

    async def start(self) -> None: ...

    def drop(self, token: int) -> None: ...

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        places = self._places(batch)
        self.parts.append((places[0], places[-1] + 1))
        kind, at = self.accidents.pop(0) if self.accidents else ("none", 0)
        if kind == "not begun":
            return Death("died of another batch", begun=False)
        answer = self._worked(kind, at % len(places), places, batch, ship)
        if self.vague and isinstance(answer, Death):
            return Death("lost", ran=len(places))
        return answer

    def _places(self, batch: Packed) -> list[int]:
        if isinstance(batch.data, tuple):
            return [self._frames[frame] for frame in batch.data]
        return list(range(batch.start, batch.start + batch.records))

    def _worked(self, kind: str, at: int, places: list[int], batch: Packed, ship: bool) -> Reply | Death:
        """A worker's life with a batch: it reads it, it runs it, it writes what came of it."""
        if kind == "killed while all is read" and self._allowed(places, None):
            return Death("killed", at=None, step=None, whole=True, foreign=True)
        if (death := self._read(batch, places)) is not None:
            return death
        if batch.framed or not any(item.kind == "cannot be read" for item in self.items):
            if kind == "killed at no record" and self._allowed(places, None):
                return Death("killed", at=None, ran=len(places), foreign=True)
            if (death := self._run(kind, at, places, batch, ship)) is not None:
                return death
        return self._work(batch, ship)

    def _allowed(self, places: list[int], at: int | None) -> bool:
        """Whether somebody else may kill the worker here: if he has not been at this record too often."""
        known = at is not None and not self.vague and len(self._call(at, places)) == 1
        counts = len(places) == 1 or known
        hit = places[at or 0]
        if counts and self._hits[hit] == (OWN_HITS if self.vague else HITS) - 1:
            return False
        self._hits[hit] += counts
        return True

    def _read(self, batch: Packed, places: list[int]) -> Death | None:
        """One pickle is read as a whole, whichever of its records are to be run."""
        if not batch.framed and any(item.kind == "kills when read" for item in self.items):
            return Death("it read", at=None, step=None, whole=True)
        for at, place in enumerate(places):
            if self.items[place].kind == "kills when read":
                return Death("it read", at=at, step=None, ran=0)
        return None

    def _run(self, kind: str, at: int, places: list[int], batch: Packed, ship: bool) -> Death | None:
        """The death of the first record that kills, or of somebody else before it."""
        for now, place in enumerate(places):
            call = self._call(now, places)
            first, end = call.start, call.stop if len(call) > 1 else None
            if kind == "killed" and now == at and self._allowed(places, at):
                return Death("killed", at=first, end=end, ran=first, foreign=True)
            if (is_ := self.items[place].kind) in ("kills", "hangs"):
                done = self._finished(batch, first, ship) if self.saves and first else None
                death = Death("it ran", at=first, end=end, step=0, ran=0 if done else first, stack="in step", done=done)
                return death._replace(kind="timeout") if is_ == "hangs" else death
        return None

    def _call(self, at: int, places: list[int]) -> range:
        """The records that the step has together with this one."""
        first = at - at % self.together
        return range(first, min(len(places), first + self.together))

    def _finished(self, batch: Packed, at: int, ship: bool) -> Reply | None:
        """A worker that could not read one of its records saves nothing."""
        first = batch.stretch(0, at)
        if any(self.items[place].kind == "cannot be read" for place in self._places(first)):
            return None
        return self._work(first, ship)._replace(wall=0.0, cpu=0.0)

    def _work(self, batch: Packed, ship: bool) -> Reply:
        global at_work
        at_work = True
        try:
            return envelope.work(CHAIN.key, None, 0, batch.data, ship, batch.span)
        finally:
            at_work = False
