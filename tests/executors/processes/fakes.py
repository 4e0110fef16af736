"""A worker without a process: does what it is told, and writes down what is done to it, and in which thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.executors.processes.remains import Remains
from pipeframe_async.executors.processes.worker import Worker
from pipeframe_async.wire import ChainRef, Packed, Phase, Reply, Spot

IDLE = Spot(0, None, Phase.IDLE, None)
AT_RECORD = Spot(1, 3, None, 0)
LEFT = Remains(IDLE, sought=False, ending="it was told to end", foreign=False, stack="", words=b"")

Told = Callable[[Reply | Exception], None]


class FakeWorker:
    """What a lane needs of a worker.

    Args:
        pid: its number.
        start: called where it is started; may raise, or wait.
        teardown: called for its teardown; may raise, or wait.
        left: what it leaves.
    """

    def __init__(
        self,
        pid: int,
        *,
        start: Callable[[], None] = lambda: None,
        teardown: Callable[[], list[str]] = list,
        left: Remains = LEFT,
    ) -> None:
        self.pid = pid
        self.cursor = Cursor()
        self.given = self.answered = 0
        self.alive = True
        self.left = left
        self.asked: dict[int, Told] = {}
        self.chains: list[str] = []
        self.done: list[str] = []
        self.threads: dict[str, str] = {}
        self.may_end = threading.Event()
        self.may_end.set()
        self.killed = threading.Event()
        self._start, self._teardown = start, teardown

    def gets(self) -> int:
        self.given += 1
        return self.given

    def has_answered(self) -> None:
        self.answered += 1

    def start(self) -> None:
        self._note("start")
        self._start()

    def ask(self, chain: ChainRef, ticket: int, batch: Packed, ship: bool, told: Told) -> None:
        if not self.alive:
            raise BrokenExecutor("it is dead")
        self.chains.append(chain.key)
        self.asked[ticket] = told

    def again(self, chain: ChainRef) -> None:
        self.done.append("again")

    def signal(self, number: int) -> None:
        self.done.append("signal")

    def hang_up(self) -> None:
        self._note("hang_up")

    def lost(self) -> None:
        self._note("lost")
        for ticket in list(self.asked):
            self.asked.pop(ticket)(BrokenExecutor("it is gone"))

    def kill(self) -> None:
        self.done.append("kill")
        self.alive = False
        self.killed.set()

    returned: Sequence[tuple[str, bytes]] = ()

    def teardown(self) -> list[str]:
        self._note("teardown")
        return self._teardown()

    def end(self) -> Remains:
        self._note("end")
        self.may_end.wait(10)
        self.alive = False
        self.cursor.close()
        return self.left

    # What a test does to it.

    def answers(self, reply: Reply | Exception, ticket: int | None = None) -> None:
        """To the batch it was given first, or to this one."""
        self.asked.pop(next(iter(self.asked)) if ticket is None else ticket)(reply)

    def dies(self, *, left: Remains = LEFT) -> None:
        self.alive, self.left = False, left
        self.lost()

    def _note(self, what: str) -> None:
        self.done.append(what)
        self.threads[what] = threading.current_thread().name


class Nursery:
    """Makes workers, as they are wanted: the next one of `kinds`, and plain ones after that."""

    def __init__(self, *kinds: Callable[[int], FakeWorker]) -> None:
        self._kinds = list(kinds)
        self.made: list[FakeWorker] = []

    def __call__(self) -> Worker:
        kind = self._kinds.pop(0) if self._kinds else FakeWorker
        self.made.append(kind(len(self.made) + 1))
        worker: Any = self.made[-1]
        return worker  # type: ignore[no-any-return] # all that a lane uses is there
