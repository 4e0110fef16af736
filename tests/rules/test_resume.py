"""What of a job is done and where the rest is, against a set of integers; and whether it is the same job."""

from __future__ import annotations

from collections import deque
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeframe_async import Checkpoint, CheckpointMismatch, Chunk
from pipeframe_async._rules.feed_forms import feed_form
from pipeframe_async._rules.ledger import Outcome
from pipeframe_async._rules.resume import Places, Skipping, behind, check, fingerprint, shorter, summed
from pipeframe_async._rules.watermark import Watermark
from pipeframe_async.checkpoint import Done, JobState, Mark

POSITIONS = st.sets(st.integers(0, 60))


def done_of(positions: set[int]) -> Done:
    """Those positions, found one by one."""
    watermark = Watermark()
    for position in positions:
        watermark.final(position, 1)
    return watermark.done


def members(done: Done) -> set[int]:
    return {*range(done.watermark), *(at for first, end in done.above for at in range(first, end))}


@given(POSITIONS)
def test_what_is_done_is_what_became_final(positions: set[int]) -> None:
    done = done_of(positions)
    assert members(done) == positions
    assert done.records == len(positions)
    assert members(Watermark(done).done) == positions


@given(POSITIONS, st.integers(0, 40), st.integers(0, 40))
def test_the_numbers_of_a_life_are_the_positions_that_are_not_done_in_order(
    positions: set[int], number: int, count: int
) -> None:
    stretches = Places(done_of(positions)).stretches(number, count)
    found = [at for first, records in stretches for at in range(first, first + records)]
    assert found == [at for at in range(200) if at not in positions][number : number + count]


@given(POSITIONS, st.integers(0, 60), st.lists(st.integers(0, 20)))
def test_of_a_feed_that_comes_again_what_is_done_is_passed_over(
    positions: set[int], begin: int, pieces: list[int]
) -> None:
    skipping, at = Skipping(done_of(positions), begin), begin
    for count in pieces:
        ahead = skipping.ahead
        assert all(at + ahead_of in positions for ahead_of in range(ahead))
        assert at + ahead not in positions
        fresh = skipping.take(count)
        kept = [at + index for first, end in fresh for index in range(first, end)]
        assert kept == [position for position in range(at, at + count) if position not in positions]
        at += count
        assert skipping.position == at
        assert skipping.missing == len([position for position in positions if position >= at])
        assert skipping.over == (not any(position >= at for position in positions))


class Lives(RuleBasedStateMachine):
    """A job that is ended again and again: a record is final once, and what is kept is what was final then."""

    def __init__(self) -> None:
        super().__init__()
        self.final: set[int] = set()
        self.saved: set[int] = set()
        self.state = Done()

    @initialize()
    def begin(self) -> None:
        """A life begins with what was kept."""
        self.final = set(self.saved)
        self.watermark, self.places = Watermark(self.state), Places(self.state)
        self.skipping = Skipping(self.state)
        self.under_way: list[int] = []
        self.numbers = 0
        self.position = 0

    @rule(count=st.integers(1, 9))
    def fed(self, count: int) -> None:
        """Records come."""
        kept = [index for first, end in self.skipping.take(count) for index in range(first, end)]
        assert [self.position + index for index in kept] == [
            at for at in range(self.position, self.position + count) if at not in self.saved
        ]
        self.position += count
        self.under_way += range(self.numbers, self.numbers + len(kept))
        self.numbers += len(kept)

    @rule(random=st.randoms(use_true_random=False))
    def ended(self, random: Any) -> None:
        """One of those under way becomes final."""
        if self.under_way:
            number = self.under_way.pop(random.randrange(len(self.under_way)))
            ((first, count),) = self.places.stretches(number, 1)
            assert count == 1
            assert first not in self.final
            self.watermark.final(first, 1)
            self.final.add(first)

    @rule()
    def kept(self) -> None:
        """A state is taken."""
        self.saved, self.state = set(self.final), self.watermark.done

    @rule()
    def killed(self) -> None:
        """What was not kept is gone."""
        self.begin()

    @invariant()
    def what_is_final_is_known(self) -> None:
        """In stretches, of which there are no more than records under way, and one."""
        assert members(self.watermark.done) == self.final
        assert len(self.watermark.done.above) <= len(self.under_way) + len(self.state.above) + 1


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_what_is_kept_behind_one_straggler_is_of_what_is_under_way_and_not_of_what_was_done() -> None:
    """Ten million records, in order of completion, of which the first stands still."""
    watermark, size, under_way, random = Watermark(), 100, deque[int](), Random(1)
    for first in range(1, 10_000_000, size):
        under_way.append(first)
        if len(under_way) == 100:  # batches of a full buffer
            under_way.rotate(random.randrange(100))
            watermark.final(under_way.popleft(), size)
            assert len(watermark.done.above) <= len(under_way) + 1
    assert watermark.value == 0
    assert watermark.done.records == 10_000_000 - size * len(under_way)


@given(st.lists(st.integers(0, 50)), st.integers(0, 60))
def test_a_feed_begins_at_the_last_mark_behind_which_all_before_is_done(marks: list[int], watermark: int) -> None:
    marks.sort()
    kept = deque(Mark(records, f"after {records}") for records in marks)
    mark = behind(kept, Done(watermark))
    passed = [records for records in marks if records <= watermark]
    assert mark == (Mark(passed[-1], f"after {passed[-1]}") if passed else None)
    assert [one.records for one in kept] == [*passed[-1:], *marks[len(passed) :]]


def test_totals_are_those_of_all_lives_without_what_was_given_up() -> None:
    before = {"delivered": 3, "bypassed": 1, "filtered": 2, "failed": 1, "emitted": 0}
    now = Outcome(delivered=2, filtered=1, aborted=7, emitted=1)
    assert summed(before, now) == {"delivered": 5, "bypassed": 1, "filtered": 3, "failed": 1, "emitted": 1}
    assert summed({}, now)["delivered"] == 2


# Whether it is the same job.


def numbers() -> Any:
    yield 1


class Place:
    """A source that says where it is."""

    position = None

    def __init__(self, path: object) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Place({self.path!r})"

    def seek(self, position: Any) -> None:
        """It begins there."""

    def __iter__(self) -> Any:
        yield 1


def printed(feed: Any, *, version: str | None = None, steps: Any = ("a", "b"), sink: Any = None) -> dict[str, Any]:
    return fingerprint(Checkpoint("state", version=version), steps, feed_form(feed, "P"), sink)


@pytest.mark.parametrize(
    ("feed", "named"),
    [
        (numbers, "numbers"),
        (partial(numbers), "numbers"),
        (Place("a"), "Place('a')"),
        (Place(object()), "Place(<object object>)"),  # whose address is another in each process
        ([1, 2], "list"),
        (iter([1]), "list_iterator"),
    ],
)
def test_a_feed_has_the_same_name_in_each_life(feed: Any, named: str) -> None:
    assert printed(feed)["feed"] == named


def test_a_list_that_has_grown_is_the_same_feed() -> None:
    assert printed([1]) == printed([1, 2])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (printed(Place("a"), version="v2"), "version was None and is 'v2'"),
        (printed(Place("a"), steps=("a",)), r"steps was \['a', 'b'\] and is \['a'\]"),
        (printed(Place("b")), r"feed was .*Place\('a'\).* and is .*Place\('b'\)"),
        (printed(Place("a"), sink=Place("out")), r"sink was None and is .*Place\('out'\)"),
    ],
)
def test_another_job_is_refused_with_what_differs(other: dict[str, Any], said: str) -> None:
    state = JobState(printed(Place("a")))
    check(state, printed(Place("a")), None, "job.state")
    with pytest.raises(CheckpointMismatch, match=f"job.state is the state of another job: {said}"):
        check(state, other, None, "job.state")


@pytest.mark.parametrize("given", [[1, 2], (1, 2, 3, 4), range(4), []])
def test_a_job_that_is_done_is_not_done_with_another_list(given: Any) -> None:
    state = JobState(printed(given), Done(3), finished=True)
    with pytest.raises(CheckpointMismatch, match=rf"done, with 3 records, and this feed has {len(given)}: begin anew"):
        check(state, printed(given), given, "job.state")
    check(JobState(printed(given), Done(3)), printed(given), given, "job.state")  # it goes on, or is found shorter


@pytest.mark.parametrize("given", [[1, 2, 3], range(3), iter([1]), [Chunk([1, 2, 3, 4])], {1}])
def test_one_that_is_done_is_so_with_what_may_be_its_feed(given: Any) -> None:
    check(JobState(printed(given), Done(3), finished=True), printed(given), given, "job.state")


def test_a_feed_that_has_become_shorter_is_told_by_how_much() -> None:
    skipping = Skipping(Done(10, ((12, 15),)))
    skipping.take(8)
    assert "ended after 8 records, and 5 more were done" in str(shorter("Job", skipping))
