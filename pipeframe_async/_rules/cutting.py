"""May a batch be cut of a line now, and how large.

Comes in: how much waits, what is known of the feed, and which workers have nothing to do. Goes out: how many records.

A full batch goes to any lane that has room. One that is less waits for as long as more is about to come: records of the
feed are a turn of the loop apart, so a stretch of it goes when the feed has paused or ended; parts of journeys come
from lanes and from the loop, at any time, and nobody can say when the next one will, so an idle lane takes what there
is. There is no linger timer: a batch that is less than full only ever waits for something that is certain to happen.
"""

from __future__ import annotations

from typing import Protocol

from pipeframe_async.wire import Portions

PORTION_RESULTS = 32
"""Results that are held together in any case: a fan-out of fewer has its children or fails. With a portion for each
few children the way back would cost more than they do."""
PORTION_BYTES = (2**20, 4 * 2**20)
"""The same in bytes; and most that a portion has. Larger ones come later and gain nothing, reading one takes 4 ms."""


class Sizes(Protocol):
    """How large batches are; `batching.Sizer` learns it."""

    @property
    def size(self) -> int:
        """Records of a full batch."""

    def worth_queueing(self, left: int | None, workers: int) -> bool:
        """Whether a lane that is at work should be given a batch to go on with."""

    def cut(self, waiting: int, *, ended: bool, idle: int, workers: int, room_bytes: int) -> int:
        """How many of the waiting records a batch takes; 0: wait for bytes to be free."""


def may_go(
    sizes: Sizes, waiting: int, *, ended: bool, paused: bool, idle: bool, idle_workers: int, workers: int
) -> bool:
    """Whether a batch may go to the lane that asks.

    Args:
        sizes: of batches.
        waiting: records in the line.
        ended: no more will come.
        paused: whoever fills the line has nothing at hand.
        idle: the lane has a worker with nothing to do.
        idle_workers: how many there are, in all lanes that may have this line.
        workers: all workers of those.
    """
    if not waiting:
        return False
    if not idle and (idle_workers or not sizes.worth_queueing(waiting if ended else None, workers)):
        return False
    return waiting >= sizes.size or ended or (paused and idle)


def how_many(
    sizes: Sizes, waiting: int, *, ended: bool, idle_workers: int, workers: int, room_bytes: int, alone: bool
) -> int:
    """How many records the batch takes that may go; 0: none before bytes came free.

    Args:
        sizes: of batches.
        waiting: records in the line.
        ended: no more will come.
        idle_workers: workers with nothing to do, in all lanes that may have this line.
        workers: all workers of those.
        room_bytes: bytes there are for it.
        alone: nothing is in flight that could free any: then one record goes, however large it may be.
    """
    size = sizes.cut(waiting, ended=ended, idle=idle_workers, workers=workers, room_bytes=room_bytes)
    return size or int(alone)


def portions(capacity: int, capacity_bytes: int, workers: int) -> Portions:
    """How much of a fan-out a worker holds until it has a portion of it taken; another may wait for the consumer.

    Args:
        capacity: records that a run may have in flight; with children as many, about.
        capacity_bytes: and bytes.
        workers: that may have a fan-out each.
    """
    least, most = PORTION_BYTES
    return Portions(
        most=max(PORTION_RESULTS, capacity // (2 * workers)),
        most_bytes=max(least, min(most, capacity_bytes // (4 * workers))),
    )
