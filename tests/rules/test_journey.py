"""A record on its journey: whatever becomes of its parts, in whatever order, its results are those of the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.journey import Came, Journey, Part
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async.model import Failure


@dataclass(frozen=True)
class Node:
    """What a part comes to in its stage: `fate`, or its children's nodes in the next one."""

    fate: str = "children"
    children: tuple[Node, ...] = ()


LEAVES = st.sampled_from(["bypasses", "filtered", "fails", "passes", "a list"]).map(Node)
TREES = st.recursive(
    LEAVES, lambda nodes: st.lists(nodes, max_size=4).map(lambda made: Node("children", tuple(made))), max_leaves=25
)
STAGES = 4


def failure(place: tuple[int, ...]) -> Failure[Any]:
    return Failure(place, "step", "raised", "ValueError", str(place))


class Model:
    """The same by recursion."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.failed = self.filtered = self.bypassed = self.outcomes = 0

    def walk(self, node: Node, place: tuple[int, ...], stage: int) -> None:
        last = stage == STAGES - 1
        if node.fate == "children" and node.children:
            for number, child in enumerate(node.children):
                if last:
                    self.ends((*place, number))
                else:
                    self.walk(child, (*place, number), stage + 1)
            return
        match node.fate:
            case "bypasses":
                self.bypassed += 1
                self.ends(place)
            case "fails":
                self.failed += 1
                self.outcomes += 1
            case "passes" | "a list":
                self.ends([place] if node.fate == "a list" else place)
            case _:
                self.filtered += 1
                self.outcomes += 1

    def ends(self, result: Any) -> None:
        self.results.append(result)
        self.outcomes += 1


def came_of(node: Node, place: tuple[int, ...]) -> Came:
    """What the stage says of a part; one that passes has a value that says how often it has."""
    match node.fate:
        case "bypasses":
            return Came(((place, True),))
        case "fails":
            return Came(failures=(failure(place),))
        case "passes":
            return Came(((place, False),))
        case "a list":
            return Came((([place], False),))
    values = tuple(((*place, number), False) for number in range(len(node.children)))
    return Came(values, filtered=0 if values else 1)


@given(TREES, st.randoms(use_true_random=False))
def test_results_come_in_the_order_of_the_tree_whatever_came_first(tree: Node, random: Any) -> None:
    model = Model()
    model.walk(tree, (), 0)
    journey = Journey(7, ())
    under_way: list[tuple[Part, Node, tuple[int, ...], int]] = [(journey.start(), tree, (), 0)]
    while under_way:
        assert journey.parts == len(under_way)
        part, node, place, stage = under_way.pop(random.randrange(len(under_way)))
        came = came_of(node, place)
        going = journey.arrived(part, came, last=stage == STAGES - 1, keep=True)
        children = node.children or (Node("passes" if node.fate == "passes" else node.fate),)
        for number, next_part in enumerate(going):
            if node.fate == "children":
                under_way.append((next_part, children[number], (*place, number), stage + 1))
            else:  # it passes all the other stages as it is
                under_way.append((next_part, node, place, stage + 1))
    assert journey.results == model.results
    outcome = journey.outcome
    assert outcome.records == 1
    assert (outcome.delivered, outcome.bypassed) == (len(model.results), model.bypassed)
    assert (outcome.filtered, outcome.failed, outcome.emitted) == (model.filtered, model.failed, model.outcomes - 1)
    assert len(journey.failures) == model.failed


@given(TREES)
def test_where_results_are_not_wanted_they_are_counted_and_not_kept(tree: Node) -> None:
    model = Model()
    model.walk(tree, (), STAGES - 1)
    journey = Journey(0, ())
    assert journey.arrived(journey.start(), came_of(tree, ()), last=True, keep=False) == []
    assert journey.results == []
    assert journey.outcome.delivered == len(model.results)


def test_a_record_that_is_given_up_has_no_results_and_no_failures() -> None:
    journey = Journey(0, "record")
    one, two, three = journey.arrived(
        journey.start(), Came(((1, False), (2, False), (3, False))), last=False, keep=True
    )
    journey.arrived(one, Came(((1, False),)), last=True, keep=True)
    journey.arrived(two, Came(failures=(failure(()),)), last=True, keep=True)
    assert journey.parts == 1
    journey.give_up(three)
    assert (journey.parts, journey.results, journey.failures) == (0, [], [])
    assert journey.outcome == Outcome(aborted=1)
