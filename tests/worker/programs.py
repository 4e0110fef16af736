"""Random chains, and what a record ought to become in them, worked out the naive way.

A record is a tuple of numbers that grows with each step, so that no two outcomes look alike. A step chooses what
it does by the sum of its record. `Expected` follows one record at a time and keeps no state between them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from pipeframe_async.model import DROP
from pipeframe_async.wire import ChainSpec

Record = tuple[int, ...]

Pair = namedtuple("Pair", "record keep_going")
"""A tuple, but not exactly one: as good as a plain pair, on another path."""

Simple = Literal["pass", "bypass", "pair pass", "pair bypass", "drop", "raise", "exit", "shape", "three", "truthy"]
Item = Literal["pass", "bypass", "pair pass", "shape", "drop", "raise"]


@dataclass(frozen=True)
class FanOut:
    """A generator step: what it does item by item; after an item `raise` nothing comes."""

    items: tuple[Item, ...]


Action = Simple | FanOut

SIMPLE: tuple[Simple, ...] = (
    "pass",
    "bypass",
    "pair pass",
    "pair bypass",
    "drop",
    "raise",
    "exit",
    "shape",
    "three",
    "truthy",
)
ITEMS: tuple[Item, ...] = ("pass", "bypass", "pair pass", "shape", "drop", "raise")

ITEM = st.one_of(st.just(ITEMS[0]), st.just(ITEMS[1]), st.sampled_from(ITEMS))  # mostly harmless
FAN_OUT = st.lists(ITEM, max_size=4).map(lambda items: FanOut(tuple(items)))
ACTION = st.one_of(st.just(SIMPLE[0]), st.just(SIMPLE[0]), st.sampled_from(SIMPLE), FAN_OUT)
PROGRAM = st.lists(st.lists(ACTION, min_size=1, max_size=4), min_size=1, max_size=5)
Program = list[list[Action]]


def action_of(actions: Sequence[Action], record: Record) -> Action:
    return actions[sum(record) % len(actions)]


def chain_of(program: Program) -> ChainSpec:
    names = tuple(f"step {position}" for position in range(len(program)))
    return ChainSpec(names, tuple(step_of(actions, position) for position, actions in enumerate(program)), None)


def step_of(actions: Sequence[Action], position: int) -> Callable[[Record], Any]:
    def step(record: Record) -> Any:
        action = action_of(actions, record)
        if isinstance(action, FanOut):
            return fan_out(action, record)
        match action:
            case "raise":
                raise ValueError(f"at {position}")
            case "exit":
                raise SystemExit(position)
        return returned(action, (*record, position))

    def fan_out(action: FanOut, record: Record) -> Iterator[Any]:
        for number, item in enumerate(action.items):
            if item == "raise":
                raise KeyError(number)
            yield returned(item, (*record, number))

    return step


def returned(action: Simple | Item, record: Record) -> Any:
    match action:
        case "pass":
            return record, True
        case "bypass":
            return record, False
        case "pair pass":
            return Pair(record, True)
        case "pair bypass":
            return Pair(record, False)
        case "drop":
            return DROP
        case "three":
            return record, True, True
        case "truthy":
            return record, 1
    return list(record)  # a shape that no step may return


@dataclass
class Leaf:
    """One outcome: a result, or a failure of a step, or neither (filtered)."""

    result: Record | None = None
    bypassed: bool = False
    blame: tuple[int, str] | None = None


class Blame(Exception):
    """A record, or a child, has failed."""

    def __init__(self, position: int, error_type: str) -> None:
        super().__init__(position, error_type)
        self.leaf = Leaf(blame=(position, error_type))


@dataclass
class Expected:
    """What a batch ought to come to."""

    program: Program
    leaves: list[list[Leaf]] = field(default_factory=list)
    """The outcomes of each record; never none, for a record that comes to nothing is filtered."""
    calls: list[int] = field(default_factory=list)

    def run(self, records: Sequence[Record]) -> Expected:
        self.calls = [0] * len(self.program)
        for record in records:
            try:
                leaves = self._walk(record, 0)
            except Blame as blame:
                leaves = [blame.leaf]
            self.leaves.append(leaves or [Leaf()])
        return self

    def _walk(self, record: Record, position: int) -> list[Leaf]:
        for at in range(position, len(self.program)):
            self.calls[at] += 1
            action = action_of(self.program[at], record)
            if isinstance(action, FanOut):
                return self._fan(action, record, at)
            match action:
                case "pass" | "pair pass":
                    record = (*record, at)
                case "bypass" | "pair bypass":
                    return [Leaf((*record, at), bypassed=True)]
                case "drop":
                    return []
                case "raise":
                    raise Blame(at, "ValueError")
                case "exit":
                    raise Blame(at, "SystemExit")
                case _:
                    raise Blame(at, "StepError")
        return [Leaf(record)]

    def _fan(self, action: FanOut, record: Record, at: int) -> list[Leaf]:
        leaves: list[Leaf] = []
        for number, item in enumerate(action.items):
            child = (*record, number)
            match item:
                case "pass" | "pair pass":
                    try:
                        leaves += self._walk(child, at + 1) or [Leaf()]
                    except Blame as blame:
                        leaves.append(blame.leaf)
                case "bypass":
                    leaves.append(Leaf(child, bypassed=True))
                case "raise":
                    raise Blame(at, "KeyError")
                case _:
                    raise Blame(at, "StepError")
        return leaves

    @property
    def results(self) -> list[Record]:
        return [leaf.result for leaf in self._all() if leaf.result is not None]

    @property
    def bypass_at(self) -> list[int]:
        made = [leaf for leaf in self._all() if leaf.result is not None]
        return [at for at, leaf in enumerate(made) if leaf.bypassed]

    @property
    def failures(self) -> list[tuple[int, int, str]]:
        return [(index, *leaf.blame) for index, leaves in enumerate(self.leaves) for leaf in leaves if leaf.blame]

    @property
    def filtered(self) -> int:
        return sum(leaf.result is None and leaf.blame is None for leaf in self._all())

    @property
    def emitted(self) -> int:
        return sum(len(leaves) - 1 for leaves in self.leaves)

    @property
    def spans(self) -> dict[int, int]:
        made = {index: sum(leaf.result is not None for leaf in leaves) for index, leaves in enumerate(self.leaves)}
        return {index: results for index, results in made.items() if results != 1}

    def _all(self) -> list[Leaf]:
        return [leaf for leaves in self.leaves for leaf in leaves]
