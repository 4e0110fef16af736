"""From remains to what a batch is told: plain values in, a `Death` out."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pipeframe_async._rules.overtime import EndedFor
from pipeframe_async.executors.processes.autopsy import death_of
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.failures import OUR_ROOM
from pipeframe_async.wire import Death, Phase, Reply, Spot

TICKET, RECORDS, AT = 7, 10, 4
WHO = "the worker"
LIMITS = {EndedFor.TIME_LIMIT: "too long", EndedFor.MEMORY: "too large"}

AT_RECORD = Spot(TICKET, AT, None, 2)
READING_IT = Spot(TICKET, AT, None, None)
CRASH = "Fatal Python error: Aborted\n\nCurrent thread (most recent call first):\n  File 'user.py' in step\n"
CALLED = "Stack (most recent call first):\n  File 'user.py' in step\n"


def in_phase(phase: Phase, batch: int = TICKET) -> Spot:
    return Spot(batch, None, phase, None)


def words(batch: int = TICKET, done: Reply | None = None, stack: str = "said") -> bytes:
    data = pickle.dumps((batch, stack, done))
    return len(data).to_bytes(8, "little") + data


def death(spot: Spot = AT_RECORD, ended_for: EndedFor | None = None, **left: Any) -> Death:
    remains = Remains(spot, sought=False, ending="it ended", foreign=False, stack="", words=b"")._replace(**left)
    return death_of(remains, TICKET, RECORDS, who=WHO, ended_for=ended_for, limits=LIMITS)


# Where it was.


@pytest.mark.parametrize("spot", [AT_RECORD._replace(batch=6), in_phase(Phase.IDLE, 6), in_phase(Phase.LOADING)])
@pytest.mark.parametrize("why", [None, *EndedFor])
def test_a_batch_the_worker_had_not_come_to_was_not_begun(spot: Spot, why: EndedFor | None) -> None:
    assert death(spot, why, foreign=True) == Death("the worker died: it ended", begun=False)


@pytest.mark.parametrize(("spot", "step"), [(AT_RECORD, 2), (READING_IT, None)])
def test_the_record_it_was_at_is_named_with_its_step(spot: Spot, step: int | None) -> None:
    assert death(spot) == Death("the worker died: it ended", at=AT, step=step, ran=AT)


@pytest.mark.parametrize(
    ("phase", "whole", "ran"), [(Phase.READING, True, 0), (Phase.WRITING, True, RECORDS), (Phase.IDLE, False, RECORDS)]
)
def test_at_no_record_it_is_said_whether_it_was_at_all_of_them(phase: Phase, whole: bool, ran: int) -> None:
    assert death(in_phase(phase)) == Death("the worker died: it ended", whole=whole, ran=ran)


# Who has ended it.


@pytest.mark.parametrize(
    ("why", "sought", "kind", "cause"),
    [
        (None, False, "crashed", "the worker died: it ended"),
        (None, True, "crashed", "the worker died: it ended"),
        (EndedFor.TIME_LIMIT, True, "timeout", "too long"),
        (EndedFor.TIME_LIMIT, False, "crashed", "the worker died: it ended"),  # it had gone on
        (EndedFor.MEMORY, False, "crashed", "too large"),
        (EndedFor.ABANDONED, False, "crashed", "the worker died: it ended"),
        (EndedFor.OVERDUE, False, "crashed", "the worker died: it ended"),
    ],
)
def test_what_is_said_of_the_record_by_why_it_was_ended(
    why: EndedFor | None, sought: bool, kind: str, cause: str
) -> None:
    found = death(ended_for=why, sought=sought)
    assert (found.kind, found.cause) == (kind, cause)


@pytest.mark.parametrize("why", [EndedFor.TIME_LIMIT, EndedFor.MEMORY])
def test_what_we_have_ended_for_its_record_nobody_else_has(why: EndedFor) -> None:
    assert not death(ended_for=why, sought=True, foreign=True).foreign


@pytest.mark.parametrize("why", [EndedFor.TIME_LIMIT, EndedFor.MEMORY])
def test_the_record_that_it_had_gone_on_to_just_then_is_not_to_blame(why: EndedFor) -> None:
    assert death(ended_for=why, sought=False, foreign=False).foreign


@pytest.mark.parametrize("sought", [True, False])
@pytest.mark.parametrize("why", [EndedFor.ABANDONED, EndedFor.OVERDUE, EndedFor.NOT_BEGUN])
def test_who_was_ended_for_something_else_has_no_record_to_blame(why: EndedFor, sought: bool) -> None:
    assert death(ended_for=why, sought=sought, foreign=False).foreign


def test_whether_somebody_else_has_ended_it_is_known_by_how_it_ended() -> None:
    assert [death(foreign=foreign).foreign for foreign in (True, False)] == [True, False]


def test_a_worker_that_was_done_when_it_was_ended_is_late_with_nothing() -> None:
    assert death(in_phase(Phase.IDLE), EndedFor.TIME_LIMIT, sought=True).kind == "crashed"


# What it has said.


def test_what_was_finished_before_a_record_out_of_time_is_not_lost() -> None:
    found = death(ended_for=EndedFor.TIME_LIMIT, sought=True, words=words(done=Reply(AT)), stack=CALLED)
    assert (found.done, found.ran, found.at, found.stack) == (Reply(AT), 0, AT, "said")


def test_of_records_that_went_together_those_that_were_finished_are_not_lost() -> None:
    at_many = AT_RECORD._replace(end=8)
    found = death(at_many, EndedFor.TIME_LIMIT, sought=True, words=words(done=Reply(3)))
    assert (found.at, found.end, found.done, found.ran) == (AT, 8, Reply(3), 1)
    assert death(at_many).ran == AT
    assert death(at_many._replace(begun=20)).ran == AT + 12
    assert death(AT_RECORD._replace(begun=20)).ran == AT + 15


@pytest.mark.parametrize("said", [words(batch=6, done=Reply(AT)), words()[:-1], b"", b"\x05" + bytes(7) + b"abcde"])
def test_words_about_another_batch_or_cut_short_are_none(said: bytes) -> None:
    found = death(ended_for=EndedFor.TIME_LIMIT, sought=True, words=said, stack=CALLED)
    assert (found.done, found.ran, found.stack) == (None, AT, CALLED)


def test_words_of_a_worker_that_was_not_out_of_time_do_not_count() -> None:
    assert death(words=words(done=Reply(AT))).done is None


# Where its code stood.


@pytest.mark.parametrize(
    ("stack", "late", "told"),
    [
        (CRASH, False, CRASH),
        (CALLED, False, ""),  # of a record that went on: a worker that is killed writes none
        (CALLED, True, CALLED),
        ("", True, ""),
        (CALLED + CRASH, False, CRASH),
        (CRASH + CRASH.replace("step", "last"), False, CRASH.replace("step", "last")),
        (CALLED + CALLED.replace("step", "last"), True, CALLED.replace("step", "last")),
        (f'{CRASH}  File "{OUR_ROOM}chain.py" in run\n  File "below.py" in main\n', False, CRASH),
    ],
)
def test_the_last_stack_that_belongs_to_this_end_is_told_without_our_frames(stack: str, late: bool, told: str) -> None:
    assert death(ended_for=EndedFor.TIME_LIMIT if late else None, sought=late, stack=stack).stack == told
