"""A record on its journey: whatever becomes of its parts, in whatever order, its results are those of the tree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.journey import Came, Journey, Part, Torn
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
        assert len(journey.parts) == len(under_way)
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
    assert len(journey.parts) == 1
    journey.give_up(three)
    assert (len(journey.parts), journey.results, journey.failures) == (0, [], ())
    assert journey.outcome == Outcome(aborted=1)


@dataclass(frozen=True, eq=False)
class Child:
    """What one of the children that a part has in a run of steps comes to; `then`: those that it has in the next."""

    fate: str
    value: Any = None
    then: tuple[Child, ...] = ()


VALUES = st.one_of(st.integers(), st.none(), st.lists(st.lists(st.integers(), max_size=2), max_size=2))


def runs(stages: int) -> st.SearchStrategy[tuple[Child, ...]]:
    """All that may come of a part which has so many runs of steps before it, every fate beside every other."""
    ends = st.builds(Child, st.sampled_from(["filtered", "fails"]))
    bypasses = st.builds(Child, st.just("bypasses"), VALUES)
    passes = st.builds(Child, st.just("passes"), VALUES, runs(stages - 1) if stages > 1 else st.just(()))
    return st.lists(st.one_of(passes, bypasses, ends), max_size=4).map(tuple)


MIXED = st.integers(1, 4).flatmap(lambda stages: st.tuples(st.just(stages), runs(stages)))
ROOT = Child("passes")


class Travel:
    """A journey through a tree of such children, beside the results and counts that it has to have."""

    def __init__(self, stages: int, children: tuple[Child, ...], *, keep: bool = True) -> None:
        self.stages, self.keep = stages, keep
        self.journey = Journey(7, "as fed")
        self.under_way = {self.journey.start(): (children, 0)}
        self.results: list[Any] = []
        self.counts: Counter[str] = Counter()
        self._expect(children, 0)

    def _expect(self, children: tuple[Child, ...], stage: int) -> None:
        for child in children or (Child("filtered"),):
            if child.fate == "passes" and stage + 1 < self.stages:
                self._expect(child.then, stage + 1)
                continue
            bypasses = child.fate == "bypasses"
            self.counts.update(["outcomes", child.fate] + ["bypassed"] * bypasses)
            if bypasses or child.fate == "passes":
                self.counts["delivered"] += 1
                self.results.append(child.value)

    def arrive(self, part: Part) -> None:
        children, stage = self.under_way.pop(part)
        last = stage + 1 == self.stages
        fates = [child.fate for child in children] or ["filtered"]
        values = [(child.value, child.fate == "bypasses") for child in children if child.fate in ("passes", "bypasses")]
        failures = (failure((stage,)),) * fates.count("fails")
        came = Came(tuple(values), fates.count("filtered"), failures)
        going = self.journey.arrived(part, came, last=last, keep=self.keep)
        passed = [] if last else [child for child in children if child.fate == "passes"]
        for next_part, child in zip(going, passed, strict=True):
            assert next_part.value is child.value
            assert (next_part.journey, next_part.step, next_part.attempts) == (self.journey, 0, 0)
            self.under_way[next_part] = child.then, stage + 1
        assert len(self.journey.parts) == len(self.under_way)

    def any_part(self, random: Random) -> Part:
        return random.choice(list(self.under_way))

    @property
    def outcome(self) -> Outcome:
        c = self.counts
        return Outcome(c["delivered"], c["bypassed"], c["filtered"], c["fails"], 0, c["outcomes"] - 1)


@given(MIXED, st.booleans(), st.randoms(use_true_random=False))
def test_children_of_every_fate_beside_each_other_keep_their_order(
    mixed: tuple[int, tuple[Child, ...]], keep: bool, random: Random
) -> None:
    travel = Travel(*mixed, keep=keep)
    while travel.under_way:
        travel.arrive(travel.any_part(random))
    journey = travel.journey
    assert journey.results == (travel.results if keep else [])
    assert journey.outcome == travel.outcome
    assert journey.outcome.records == 1
    assert len(journey.failures) == travel.outcome.failed


@given(MIXED, st.randoms(use_true_random=False))
def test_a_result_that_is_a_list_is_the_same_object_at_the_end(
    mixed: tuple[int, tuple[Child, ...]], random: Random
) -> None:
    travel = Travel(*mixed)
    while travel.under_way:
        travel.arrive(travel.any_part(random))
    assert all(got is put for got, put in zip(travel.journey.results, travel.results, strict=True))


@given(MIXED, st.integers(0, 20), st.randoms(use_true_random=False))
def test_whenever_one_part_is_given_up_the_whole_record_is_aborted(
    mixed: tuple[int, tuple[Child, ...]], moment: int, random: Random
) -> None:
    travel = Travel(*mixed)
    while moment and travel.under_way:
        travel.arrive(travel.any_part(random))
        moment -= 1
    if not travel.under_way:
        return  # it had come to its end before
    gone = travel.any_part(random)
    del travel.under_way[gone]
    travel.journey.give_up(gone)
    while travel.under_way:
        travel.arrive(travel.any_part(random))
    journey = travel.journey
    assert journey.outcome == Outcome(aborted=1)
    assert journey.outcome.records == 1
    assert (len(journey.parts), journey.results, journey.failures) == (0, [], ())


def test_failures_stay_in_the_order_in_which_they_came() -> None:
    journey = Journey(0, "record")
    one, two = journey.arrived(journey.start(), Came(((1, False), (2, False))), last=False, keep=True)
    journey.arrived(two, Came(failures=(failure((2, 1)), failure((2, 2)))), last=True, keep=True)
    journey.arrived(one, Came(failures=(failure((1,)),)), last=True, keep=True)
    assert [failure.record for failure in journey.failures] == [(2, 1), (2, 2), (1,)]


def test_results_that_are_fed_again_are_one_result_of_the_next_journey() -> None:
    journey = Journey(0, "record")
    journey.arrived(journey.start(), Came(((1, False), (2, False))), last=True, keep=True)
    again = Journey(1, journey.results)
    again.arrived(again.start(), Came(((journey.results, False),)), last=True, keep=True)
    assert again.results == [[1, 2]]


PORTIONS = st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=5)
"""Of each, whether its children fail; the last is the rest of the record."""


@given(PORTIONS, st.randoms(use_true_random=False))
def test_portions_that_end_in_any_order_leave_in_theirs_and_add_up_to_one_record(
    portions: list[list[bool]], random: Random
) -> None:
    torn, under_way, left = Torn(), list[tuple[Journey, Part, bool]](), list[Journey]()
    for number, fails in enumerate(portions):
        journey = Journey(7, "record", portion=number + 1 < len(portions))
        torn.add(journey)
        came = Came(tuple((fail, False) for fail in fails), filtered=0 if fails or journey.portion else 1)
        going = journey.arrived(journey.start(), came, last=False, keep=True)
        under_way += [(journey, part, fail) for part, fail in zip(going, fails, strict=True)]
        left += torn.leaving()
    children = [part.child.path for _, part, _ in under_way if part.child is not None]
    assert children == [(number,) for number in range(len(under_way))]
    random.shuffle(under_way)
    for journey, part, fail in under_way:
        came = Came(failures=(failure(()),)) if fail else Came(((part.child, False),))
        assert journey.arrived(part, came, last=True, keep=True) == []
        left += torn.leaving()
    assert [journey.portion for journey in left] == [True] * (len(portions) - 1) + [False]
    assert [journey.outcome.records for journey in left] == [0] * (len(portions) - 1) + [1]
    paths = [child.path for journey in left for child in journey.results]
    assert paths == sorted(paths)
    failed = sum(map(sum, portions))
    assert sum(journey.outcome.failed for journey in left) == failed
    assert len(paths) == sum(map(len, portions)) - failed


def test_who_has_a_portion_given_up_gives_up_those_behind_it_and_none_before() -> None:
    torn, journeys = Torn(), [Journey(0, "record", portion=portion) for portion in (True, True, True, False)]
    for journey in journeys[:3]:
        torn.add(journey)
    parts = [journey.start() for journey in journeys[:3]]
    journeys[1].give_up(parts[1])
    for at in (0, 2):
        journeys[at].arrived(parts[at], Came(((at, True),)), last=False, keep=True)
    assert [journey.results for journey in torn.leaving()] == [[0], [], []]
    torn.add(journeys[3])
    assert journeys[3].given_up
    assert [journey.outcome for journey in journeys] == [
        Outcome(delivered=1, bypassed=1, emitted=1),
        Outcome(),
        Outcome(),
        Outcome(aborted=1),
    ]


def test_what_ends_while_another_leaves_is_his_who_lets_that_leave() -> None:
    torn, journeys = Torn(), [Journey(0, "record", portion=True) for _ in range(2)]
    for journey in journeys:
        torn.add(journey)
    first, second = (journey.start() for journey in journeys)
    journeys[0].arrived(first, Came(), last=False, keep=True)
    leaving = torn.leaving()
    assert next(leaving) is journeys[0]
    journeys[1].arrived(second, Came(), last=False, keep=True)
    assert list(torn.leaving()) == []
    assert list(leaving) == [journeys[1]]
