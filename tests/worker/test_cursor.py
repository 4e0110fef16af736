"""The cursor: where a worker is, readable from outside."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeframe_async._worker.cursor import (
    BEGUN,
    END,
    FIRST_PHASE,
    INDEX,
    NBYTES,
    NO_STEP,
    SOUGHT_BATCH,
    SOUGHT_INDEX,
    STEP,
    Cursor,
)
from pipeframe_async.wire import Phase, Spot

IDLE = Spot(0, None, Phase.IDLE, None)


@pytest.fixture
def both_sides(tmp_path: Path) -> Iterator[tuple[Cursor, Cursor]]:
    """The parent's and the worker's."""
    path = tmp_path / "cells"
    path.write_bytes(bytes(NBYTES))
    fd = os.open(path, os.O_RDWR)
    parents, workers = Cursor(fd), Cursor(fd)
    os.close(fd)  # the mapping stays
    yield parents, workers
    parents.close()
    workers.close()


def test_a_new_cursor_is_at_no_record() -> None:
    assert Cursor().read() == IDLE


@pytest.mark.parametrize("index", [0, 1, 2**32, 2**63, FIRST_PHASE - 1])
@pytest.mark.parametrize(("step", "says"), [(0, 0), (3, 3), (NO_STEP, None)])
def test_a_cursor_is_where_it_was_put(index: int, step: int, says: int | None) -> None:
    cursor = Cursor()
    cursor.enter(7)
    cursor.cells[STEP], cursor.cells[INDEX] = step, index
    assert cursor.read() == Spot(7, index, None, says)
    cursor.leave()
    assert cursor.read() == Spot(7, None, Phase.IDLE, None)


def test_a_cursor_may_be_at_many_records_at_once() -> None:
    cursor = Cursor()
    cursor.enter(7)
    cursor.cells[STEP], cursor.cells[INDEX], cursor.cells[END], cursor.cells[BEGUN] = 1, 4, 9, 20
    assert cursor.read() == Spot(7, 4, None, 1, 9, 20)
    cursor.enter(8)
    cursor.cells[INDEX] = 0
    assert (cursor.read().end, cursor.read().begun) == (None, None)


def test_a_batch_is_entered_by_loading_its_chain() -> None:
    cursor = Cursor()
    cursor.enter(7)
    assert cursor.read() == Spot(7, None, Phase.LOADING, None)


@pytest.mark.parametrize("phase", Phase)
def test_in_a_phase_a_cursor_is_at_no_record_and_in_no_step(phase: Phase) -> None:
    cursor = Cursor()
    cursor.enter(7)
    cursor.cells[STEP] = 2
    cursor.phase(phase)
    assert cursor.read() == Spot(7, None, phase, None)


def test_what_one_side_writes_the_other_reads(both_sides: tuple[Cursor, Cursor]) -> None:
    ours, theirs = both_sides
    theirs.enter(3)
    theirs.cells[STEP], theirs.cells[INDEX] = 1, 41
    assert ours.read() == Spot(3, 41, None, 1)
    theirs.close()
    assert ours.read() == Spot(3, 41, None, 1)  # also after the worker has gone


def test_a_worker_is_sought_where_it_was_seen_and_nowhere_else(both_sides: tuple[Cursor, Cursor]) -> None:
    ours, theirs = both_sides
    theirs.enter(3)
    theirs.cells[INDEX] = 41
    assert not theirs.sought
    ours.seek(ours.read())
    assert theirs.sought
    theirs.cells[INDEX] = 42
    assert not theirs.sought
    theirs.cells[INDEX] = 41
    theirs.cells[SOUGHT_BATCH] = 4  # the same spot in another batch
    assert not theirs.sought
    theirs.close()


def test_who_has_gone_on_since_it_was_looked_at_is_not_sought() -> None:
    cursor = Cursor()
    cursor.enter(9)
    cursor.cells[STEP], cursor.cells[INDEX] = 1, 5
    seen = cursor.read()
    cursor.cells[INDEX] = 6
    cursor.seek(seen)
    assert (cursor.cells[SOUGHT_BATCH], cursor.cells[SOUGHT_INDEX]) == (9, 5)
    assert not cursor.sought


def test_who_is_at_fewer_of_the_records_by_now_is_not_sought() -> None:
    cursor = Cursor()
    cursor.enter(9)
    cursor.cells[INDEX], cursor.cells[END] = 4, 8
    cursor.seek(cursor.read())
    assert cursor.sought
    cursor.cells[END] = 6
    assert not cursor.sought


@pytest.mark.parametrize("phase", [Phase.READING, Phase.WRITING])
def test_a_phase_is_sought_too(phase: Phase) -> None:
    cursor = Cursor()
    cursor.enter(9)
    cursor.phase(phase)
    cursor.seek(cursor.read())
    assert cursor.sought


def test_a_new_cursor_is_not_sought() -> None:
    assert not Cursor().sought


def test_a_cursor_without_a_descriptor_is_private() -> None:
    one, other = Cursor(), Cursor()
    one.enter(5)
    assert other.read() == IDLE


def test_closing_gives_the_memory_back() -> None:
    cursor = Cursor()
    cursor.close()
    with pytest.raises(ValueError, match="released"):
        cursor.cells[0]
    assert NBYTES <= mmap.PAGESIZE


# Records that are ceded.


def test_all_of_a_batch_is_its_workers_until_it_claims_a_piece(both_sides: tuple[Cursor, Cursor]) -> None:
    parents, workers = both_sides
    workers.enter(7)
    assert parents.unclaimed(7) is None
    assert workers.claim(0, 4) == 4
    assert parents.unclaimed(7) == 4


def test_of_a_batch_that_waits_for_its_worker_the_first_record_stays(both_sides: tuple[Cursor, Cursor]) -> None:
    parents, workers = both_sides
    workers.enter(7)
    assert parents.unclaimed(8) == 1
    parents.cede(8, 1)
    workers.enter(8)
    assert parents.unclaimed(8) is None
    assert workers.claim(0, 4) == 1
    assert workers.claim(1, 5) == 1
    assert parents.unclaimed(8) == 1


def test_a_batch_that_is_done_has_nothing_to_cede(both_sides: tuple[Cursor, Cursor]) -> None:
    parents, workers = both_sides
    workers.enter(7)
    workers.claim(0, 4)
    workers.enter(8)
    assert parents.unclaimed(7) is None


def test_what_is_ceded_of_one_batch_is_not_of_another(both_sides: tuple[Cursor, Cursor]) -> None:
    parents, workers = both_sides
    for batch in (0, 7, 8, 15):
        parents.cede(7, 2)
        workers.enter(batch)
        assert workers.claim(0, 4) == (2 if batch == 7 else 4)


def test_a_worker_that_was_faster_keeps_what_it_has_begun(both_sides: tuple[Cursor, Cursor]) -> None:
    parents, workers = both_sides
    workers.enter(7)
    workers.claim(0, 4)
    parents.cede(7, 2)
    assert workers.claim(4, 8) == 4
    assert parents.unclaimed(7) == 4


def test_nobody_else_has_what_no_one_else_can_see() -> None:
    cursor = Cursor()
    cursor.enter(7)
    cursor.claim(0, 4)
    assert cursor.unclaimed(7) is None
    assert cursor.unclaimed(8) is None


def test_no_record_is_had_by_both_however_they_meet(both_sides: tuple[Cursor, Cursor]) -> None:
    """The worker goes through batches of a hundred; the parent has each cede what it can, as a lane does."""
    parents, workers = both_sides
    batches, reached, ceded = 300, dict[int, int](), dict[int, int]()

    def works() -> None:
        for batch in range(1, batches):
            workers.enter(batch)
            begun = 0
            while begun < 100 and (stop := workers.claim(begun, min(100, begun + 1 + batch % 3))) > begun:
                begun = stop
                time.sleep(0)
            reached[batch] = begun

    worker = threading.Thread(target=works)
    worker.start()
    while worker.is_alive():
        batch = parents.read().batch
        if batch in ceded or (index := parents.unclaimed(batch)) is None or index >= 100:
            time.sleep(0)
            continue
        parents.cede(batch, index)
        time.sleep(0.0005)
        ceded[batch] = index if parents.unclaimed(batch) == index else -1
    worker.join()
    got = {batch: index for batch, index in ceded.items() if index >= 0}
    assert got
    assert {batch: reached[batch] for batch in got} == got
