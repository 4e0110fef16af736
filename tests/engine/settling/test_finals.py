"""Which records of a job are final: what is settled, as positions over all lives; and whether any is there in part."""

from __future__ import annotations

from dataclasses import replace

from pipeframe_async._engine.settling.finals import Finals
from pipeframe_async.checkpoint import Done
from tests.engine.harness import CountedBell, a_failure, delivered, failed


def test_what_is_settled_is_final() -> None:
    finals = Finals()
    finals.settled(delivered(0, "a", "b"), aborted=False)
    finals.settled(delivered(3, "d"), aborted=False)
    assert (finals.watermark, finals.done) == (2, Done(2, ((3, 4),)))
    assert finals.whole


def test_a_later_life_goes_on_where_records_were_not_done() -> None:
    finals = Finals(Done(10, ((12, 15),)))
    finals.settled(delivered(0, "10", "11", "15"), aborted=False)
    assert finals.done == Done(16)
    finals.settled(delivered(4, "17"), aborted=False)
    assert finals.done == Done(16, ((17, 18),))


def test_who_waits_is_rung_when_something_has_become_final() -> None:
    finals = Finals()
    bell = finals.bell = CountedBell()
    finals.settled(delivered(1, "b"), aborted=False)
    assert bell.rings == 1
    finals.settled(delivered(0, "a"), aborted=True)
    assert bell.rings == 1


def test_where_something_was_given_up_what_comes_later_is_not_sound() -> None:
    finals = Finals()
    finals.settled(delivered(0, "a"), aborted=True)
    assert finals.watermark == 0
    assert not finals.whole


def test_a_failure_that_the_run_does_not_bear_is_not_final_and_nothing_is_sound_after_it() -> None:
    borne = True
    finals = Finals(borne=lambda: borne)
    finals.settled(failed(0, a_failure()), aborted=False)
    assert (finals.watermark, finals.whole) == (1, True)
    borne = False
    finals.settled(failed(1, a_failure()), aborted=False)
    assert (finals.watermark, finals.whole) == (1, False)


def test_while_a_record_is_there_in_part_nothing_is_whole() -> None:
    finals = Finals()
    portion = replace(delivered(0, "a", "b"), count=1, then=lambda: None)  # a record, and a child of the next one
    finals.settled(portion, aborted=False)
    assert (finals.watermark, finals.whole) == (1, False)
    finals.settled(delivered(5, "f"), aborted=False)
    assert not finals.whole
    finals.settled(delivered(1, "c"), aborted=False)
    assert (finals.done, finals.whole) == (Done(2, ((5, 6),)), True)
