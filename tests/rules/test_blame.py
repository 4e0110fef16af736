"""Who is to blame for dead workers: exactly the guilty, whoever else kills workers meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeframe_async._rules.blame import FOREIGN_POINTS, GUILTY, OWN_POINTS, Inquest

HITS = ceil(GUILTY / FOREIGN_POINTS)
"""Deaths that may have come from outside, after which a record is blamed all the same."""


@dataclass
class Worker:
    """Runs the parts of an inquest as a lane of workers would, and keeps what came of each place.

    `killers` end their worker whenever they are run; `disguised` ones so that it looks like somebody else's deed;
    `vague`: nobody knows at which record a worker was. `saves`: what a worker
    had finished before its end is saved.
    """

    inquest: Inquest
    unsettled: set[int]
    killers: frozenset[int] = frozenset()
    disguised: frozenset[int] = frozenset()
    vague: bool = False
    saves: bool = False
    kills: list[int] = field(default_factory=list)
    deaths: int = 0
    blamed: list[int] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)
    hits: Counter[int] = field(default_factory=Counter)

    def work(self) -> None:
        """Until all is settled."""
        while (part := self.inquest.stretch) is not None:
            start, stop = part
            places = set(range(start, stop))
            assert start == min(self.unsettled)
            assert start < stop
            assert places <= self.unsettled
            self._run(start, stop)
        assert not self.unsettled

    def _run(self, start: int, stop: int) -> None:
        for place in range(start, stop):
            if self._hit(place, alone=stop - start == 1):
                return self._die(place, start, foreign=True)
            if place in self.killers | self.disguised:
                return self._die(place, start, foreign=place in self.disguised)
        self.inquest.answered()
        self.ran += range(start, stop)
        self.unsettled -= set(range(start, stop))
        return None

    def _hit(self, place: int, *, alone: bool) -> bool:
        """Whether somebody kills the worker at this place: as often as was drawn, and never once too often."""
        if not self.kills or self.hits[place] == HITS - 1 or place in self.disguised:
            return False
        if self.kills[-1] > 0:
            self.kills[-1] -= 1
            return False
        self.kills.pop()
        self.hits[place] += alone or not self.vague
        return True

    def _die(self, place: int, start: int, *, foreign: bool) -> None:
        self.deaths += 1
        done = self.saves and not self.vague
        before = self.inquest.tries(place)
        culprit = self.inquest.died(None if self.vague else place, foreign=foreign, done=place if done else None)
        assert self.inquest.tries(place) - before in ((0, 1) if self.vague else (1,))
        self._settle(place, start, culprit, done=done)

    def _settle(self, place: int, start: int, culprit: int | None, *, done: bool) -> None:
        if done:
            self.ran += range(start, place)
            self.unsettled -= set(range(start, place))
        if culprit is not None:
            assert culprit == place
            self.blamed.append(culprit)
            self.unsettled.remove(culprit)


@st.composite
def workers(draw: st.DrawFn, *, guilty: bool = True, kills: bool = True) -> Worker:
    records = draw(st.integers(0, 70))
    places = st.frozensets(st.integers(0, records - 1), max_size=8) if records else st.just(frozenset())
    settled = draw(places)
    killers, disguised = (draw(places) if guilty else frozenset() for _ in range(2))
    return Worker(
        Inquest(records, settled),
        set(range(records)) - settled,
        killers,
        disguised - killers,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.lists(st.integers(0, 100), max_size=60)) if kills else [],
    )


@given(workers())
def test_every_place_is_settled_once_and_exactly_the_guilty_are_blamed(worker: Worker) -> None:
    places = set(worker.unsettled)
    guilty = (worker.killers | worker.disguised) & places
    worker.work()
    assert sorted(worker.blamed) == sorted(guilty)
    assert sorted(worker.ran) == sorted(places - guilty)


@given(workers(guilty=False))
def test_kills_from_outside_blame_nobody_who_is_not_hit_again_and_again(worker: Worker) -> None:
    places = set(worker.unsettled)
    worker.work()
    assert worker.blamed == []
    assert sorted(worker.ran) == sorted(places)


@given(workers(kills=False))
def test_the_guilty_cost_a_bounded_number_of_deaths(worker: Worker) -> None:
    places = set(worker.unsettled)
    halves = ceil(log2(max(1, len(places)))) if worker.vague else 0
    worker.work()
    own = len(worker.killers & places) * (halves + ceil(GUILTY / OWN_POINTS))
    foreign = len(worker.disguised & places) * (halves + HITS)
    assert worker.deaths <= own + foreign


@given(workers(kills=False))
def test_a_record_that_is_known_to_kill_does_so_twice(worker: Worker) -> None:
    worker.vague = False
    worker.work()
    assert {worker.inquest.tries(place) for place in worker.blamed if place in worker.killers} <= {2}
    assert {worker.inquest.tries(place) for place in worker.blamed if place in worker.disguised} <= {HITS}


def test_a_record_is_never_blamed_while_it_has_company() -> None:
    inquest = Inquest(3)
    assert inquest.died(0, foreign=False) is None
    assert inquest.stretch == (0, 1)
    assert inquest.died(0, foreign=False) == 0
    assert inquest.stretch == (1, 3)


def test_a_death_splits_the_part_in_before_itself_and_after() -> None:
    inquest, parts = Inquest(10), []
    assert inquest.died(4, foreign=True) is None
    while inquest.stretch is not None:
        parts.append(inquest.stretch)
        inquest.answered()
    assert parts == [(0, 4), (4, 5), (5, 10)]


@pytest.mark.parametrize(("at", "parts"), [(0, [(0, 1), (1, 3)]), (2, [(0, 2), (2, 3)])])
def test_a_death_at_either_end_makes_no_empty_part(at: int, parts: list[tuple[int, int]]) -> None:
    inquest, seen = Inquest(3), []
    inquest.died(at, foreign=True)
    while inquest.stretch is not None:
        seen.append(inquest.stretch)
        inquest.answered()
    assert seen == parts


def test_a_death_at_no_record_blames_nobody_before_it_is_one_record_only() -> None:
    inquest = Inquest(4)
    assert inquest.died(None, foreign=False) is None
    assert inquest.stretch == (0, 2)
    assert inquest.died(None, foreign=False) is None
    assert inquest.stretch == (0, 1)
    assert inquest.died(None, foreign=False) is None
    assert inquest.died(None, foreign=False) == 0
    assert (inquest.stretch, inquest.tries(0)) == ((1, 2), 2)


def test_what_was_saved_before_a_death_is_not_run_again() -> None:
    inquest = Inquest(10)
    inquest.died(4, foreign=True, done=4)
    assert inquest.stretch == (4, 5)
    inquest = Inquest(10)
    inquest.died(4, foreign=True)
    assert inquest.stretch == (0, 4)


@given(st.integers(0, 30), st.lists(st.integers(0, 29)))
def test_a_place_that_is_struck_off_is_not_run(records: int, struck: list[int]) -> None:
    inquest, left, ran = Inquest(records), set(range(records)), list[int]()
    for place in struck:
        assert inquest.strike(place) is (place in left)
        left.discard(place)
    while inquest.stretch is not None:
        ran += range(*inquest.stretch)
        inquest.answered()
    assert ran == sorted(left)


def test_the_points_say_what_their_names_say() -> None:
    assert ceil(GUILTY / OWN_POINTS) == 2  # in the batch, and once more alone
    assert HITS >= 4


def test_time_and_deaths_are_counted_each_by_itself() -> None:
    inquest = Inquest(3)
    assert inquest.died(1, foreign=False, late=True, done=1) is None
    assert inquest.stretch == (1, 2)
    for _ in range(GUILTY - 1):
        assert inquest.died(1, foreign=True) is None
    assert inquest.died(1, foreign=False, late=True) == 1
    assert (inquest.stretch, inquest.tries(1)) == ((2, 3), GUILTY + 1)


# A step that had many records at once.


def test_a_death_at_many_at_once_is_looked_for_in_halves_of_those() -> None:
    inquest, parts = Inquest(20), []
    assert inquest.died(4, end=12, foreign=False) is None
    while inquest.stretch is not None:
        parts.append(inquest.stretch)
        inquest.answered()
    assert parts == [(0, 4), (4, 8), (8, 12), (12, 20)]


def test_what_was_saved_before_a_call_is_not_run_again() -> None:
    inquest = Inquest(20)
    assert inquest.died(8, end=12, foreign=False, done=4) is None
    assert inquest.stretch == (4, 8)
    assert inquest.tries(8) == 0


def test_one_record_at_once_is_a_record_as_any_other() -> None:
    inquest = Inquest(3)
    assert inquest.died(1, end=2, foreign=False, done=1) is None
    assert (inquest.stretch, inquest.tries(1)) == ((1, 2), 1)


@given(st.integers(1, 300), st.data(), st.booleans(), st.booleans())
def test_the_guilty_one_of_a_call_is_found_in_so_many_deaths_as_it_has_halves(
    records: int, data: st.DataObject, late: bool, saves: bool
) -> None:
    """The calls of `size` records, of which one kills; what was before its call may be saved."""
    killer, size = data.draw(st.integers(0, records - 1)), data.draw(st.integers(1, 64))
    inquest, unsettled, deaths, blamed = Inquest(records), set(range(records)), 0, None
    while (stretch := inquest.stretch) is not None:
        start, stop = stretch
        assert set(range(start, stop)) <= unsettled
        if not start <= killer < stop or blamed is not None:
            inquest.answered()
            unsettled -= set(range(start, stop))
            continue
        deaths += 1
        at = start + (killer - start) // size * size
        culprit = inquest.died(at, end=min(stop, at + size), foreign=False, late=late, done=at if saves else None)
        if saves:
            unsettled -= set(range(start, at))
        if culprit is not None:
            blamed = culprit
            unsettled.remove(culprit)
    assert (blamed, unsettled) == (killer, set())
    assert deaths <= ceil(log2(size)) + ceil(GUILTY / OWN_POINTS)


def test_records_that_are_ceded_are_others_to_run() -> None:
    inquest = Inquest(10)
    inquest.cede(4)
    assert inquest.stretch == (0, 4)
    assert inquest.died(2, foreign=True) is None
    assert inquest.stretch == (0, 2)
    for _ in range(3):
        inquest.answered()
    assert inquest.stretch is None


def test_what_was_ceded_behind_stretches_that_are_to_be_run_is_gone() -> None:
    inquest = Inquest(10, frozenset({3, 6}))
    inquest.cede(5)
    assert inquest.stretch == (0, 3)
    inquest.answered()
    assert inquest.stretch == (4, 5)
    inquest.answered()
    assert inquest.stretch is None
