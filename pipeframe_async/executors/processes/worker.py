"""One worker process: a pool of one, the channel to it, and the files it leaves traces in.

Process: lives in the parent. Making, starting and ending one blocks, as its teardown does, and is done in its lane's
threads, one after the other; the rest is called on the loop, between start and end, but `kill` by both, at any time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pipeframe_async._worker import bootstrap, envelope, session
from pipeframe_async._worker.channel import heavy
from pipeframe_async._worker.cursor import Cursor
from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.handling import Hears
from pipeframe_async.executors.processes import launch
from pipeframe_async.executors.processes.channel import Channel, Told
from pipeframe_async.executors.processes.launch import LaneContext
from pipeframe_async.executors.processes.reap import kill_family
from pipeframe_async.executors.processes.remains import Remains, TraceFiles, ending_of, remains_of
from pipeframe_async.wire import ChainRef, Packed, Reply

T = TypeVar("T")

CAN_HAND_OVER_SOCKETS = os.name == "posix"
"""Whether a worker can be given its end of a channel; where not, batches go through the pool's own queues."""
START_TIMEOUT = 60.0
"""Seconds a worker has to say that it is ready. It takes 0.02-0.2; a shorter limit fails on a machine that swaps."""


class StartFailed(Exception):
    """A worker could not start; `foreign`: because somebody else has ended it, as far as one can tell."""

    def __init__(self, text: str, *, foreign: bool = False) -> None:
        super().__init__(text)
        self.foreign = foreign


class Worker:
    """A worker process: runs after `start`, is used by `ask`, gone after `end`; `kill` reaches it all the time.

    Args:
        method: multiprocessing start method.
        weigh: whether its replies say how much memory it holds.
        inner_threads: how many threads a library of numbers may start in it, where the user has not said.
        logs: handles what its steps log; None where that stays its own.
        name: for who reads that.

    Raises:
        StartFailed: there are no descriptors or processes for it.
        ConfigError: this host cannot have workers.
    """

    def __init__(
        self,
        method: str,
        *,
        weigh: bool = False,
        inner_threads: int | None = None,
        logs: Hears | None = None,
        name: str = "",
    ) -> None:
        self._weigh = weigh
        self._context = LaneContext(method, inner_threads)
        files = self._channel = None
        try:
            launch.ready(method)
            self._files = files = TraceFiles() if sys.platform != "win32" else None
            self.cursor = Cursor(files.cursor if files else -1)
            self._channel = Channel(logs, name) if CAN_HAND_OVER_SOCKETS else None
            traces, ends = files.shared() if files else None, self._channel.ends() if self._channel else None
            self.pool = ProcessPoolExecutor(1, self._context, bootstrap.begin, (traces, ends))
            for end in _ends_of_the_worker(self.pool):
                _close_once(end)
        except OSError as error:
            if self._channel is not None:
                self._channel.close()
            if files is not None:
                files.close()
            raise StartFailed(f"a worker process could not be started: {error}") from error
        self._chains: set[str] = set()
        self.returned: list[tuple[str, bytes]] = []  # by the teardown of chains, by their keys
        self._listens = False
        self.given = self.answered = 0  # batches; turned by `gets` and `has_answered`
        self._asked: set[asyncio.Future[Reply]] = set()  # of the pool, where there is no channel
        self.pid = 0
        self._killing = False

    def start(self) -> None:
        """Start the process, and wait until it can work.

        Raises:
            StartFailed: it could not start; the message has the reason. It has been put away.
            ConfigError: this host cannot have workers.
        """
        try:
            # Blocks the lane's thread. `kill` may be called by the loop meanwhile: the pool breaks, and this raises.
            self.pid, problem = self.pool.submit(bootstrap.ready).result(START_TIMEOUT)
        except ConfigError:  # this host cannot have workers
            self.end()
            raise
        except BaseException as error:
            cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            ended_itself = not self.alive
            self.kill()
            remains = self.end()
            text = f"a worker process could not be started: {cause}; {remains.ending}"
            server_ended = isinstance(error, (EOFError, ConnectionError))  # it is the fork server that was killed
            raise StartFailed(text, foreign=server_ended or (ended_itself and remains.foreign)) from error
        if problem:
            self.kill()
            self.end()
            raise StartFailed(f"a worker process could not be started:\n{problem}")
        _let_go(self.pool)
        if self._files is not None:
            self._files.given()
        if self._channel is not None:
            self._channel.given()

    def ask(self, chain: ChainRef, ticket: int, batch: Packed, ship: bool, told: Told) -> None:
        """Have a batch run in the worker; the chain's bytes go along the first time.

        Args:
            chain: what to run.
            ticket: the batch's number.
            batch: what to run it on.
            ship: whether results are wanted.
            told: gets the reply, or an error: `BrokenExecutor` where the worker is gone.

        Raises:
            BrokenExecutor: the worker is dead.
        """
        label = chain.label
        data = None if label in self._chains else chain.parcel(again=chain.key in self._chains)
        self._chains |= {chain.key, label}
        if self._channel is None:
            how = ship, batch.span, self._weigh, batch.portions, batch.traced
            work = partial(envelope.work, label, data, ticket, heavy(batch.data), *how)
            asked = self._submit(work)
            self._asked.add(asked)
            asked.add_done_callback(self._asked.discard)
            asked.add_done_callback(lambda asked: told(_outcome(asked)))  # on the loop; the pool's thread has set it
            return
        if not self._listens:
            # The pool's one call that lasts: it ends with the worker, or when `teardown` has finished the channel.
            self._channel.open(self._submit(session.serve))
            self._listens = True
        self._channel.ask(ticket, label, data, batch, ship, self._weigh, told)

    def drop(self, token: int) -> None:
        """Nobody wants the rest of the batch that is suspended there."""
        if self._channel is not None:
            self._channel.drop(token)
        elif self.alive:
            with suppress(Exception):  # it is gone, or going
                self.pool.submit(envelope.drop, token)

    def lost(self) -> None:
        """It is gone: whoever still waits for an answer is told so."""
        for asked in list(self._asked):
            asked.cancel()
        if self._channel is not None:
            self._channel.lost()

    def _submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        asked = asyncio.get_running_loop().run_in_executor(self.pool, call)
        if self.pool._broken:
            # Before 3.12 a pool that breaks takes no lock: it may have overlooked the call it has just accepted.
            asked.add_done_callback(_seen)
            raise BrokenExecutor("the worker died as it was given a batch")
        return asked

    def hang_up(self) -> None:
        """Hear no more of it; on the loop, before the worker is ended in a thread."""
        if self._channel is not None:
            self._channel.detach()

    def again(self, chain: ChainRef) -> None:
        """The worker has forgotten a chain it had: send it again."""
        self._chains -= {chain.key, chain.label}

    def signal(self, number: int) -> None:
        """Send the worker a signal; nothing happens where it is gone."""
        if self.alive:
            os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        process = self._context.process
        return process is not None and process.pid is not None and process.is_alive()

    def gets(self) -> int:
        """It gets a batch: how many that are by now."""
        self.given += 1
        return self.given

    def has_answered(self) -> None:
        """It has answered a batch."""
        self.answered += 1

    @property
    def at(self) -> tuple[int, int] | None:
        """The batch it has, and where in it it is; None where that cannot be read any more. Any thread may ask."""
        try:
            batch, index, *_ = self.cursor.cells
        except ValueError:  # it is being put away
            return None
        return batch, index

    def kill(self) -> None:
        """Have the process ended, with all it has started; returns at once, and may be called again and again."""
        process = self._context.process
        if process is None or process.pid is None or self._killing or not process.is_alive():
            return
        self._killing = True
        if sys.platform != "win32":
            # In a thread of its own: it looks at every process of the machine, and the loop is not to wait for that.
            killing = threading.Thread(target=kill_family, args=(process.pid,), name="pipeframe-kill", daemon=True)
            try:
                killing.start()
            except RuntimeError:  # no more threads: better late than not
                kill_family(process.pid)
        else:
            process.kill()

    def teardown(self) -> list[str]:
        """Run the teardown of every chain in the worker, and wait for it; the traceback of each that raised.

        Blocks for as long as the batch at work and then the teardowns take; `kill` ends that, as `BrokenExecutor`.
        """
        if self._channel is None:
            return self.pool.submit(envelope.forget).result() if self._chains else []
        self._channel.finish()
        if not self._chains:
            return []
        problems, chunks, self.returned = self.pool.submit(session.conclude).result()
        for chunk in chunks:
            self._channel.logged(chunk)
        return problems

    def end(self) -> Remains:
        """Wait for the process to end, end what it leaves behind, and free what the parent holds for it; once."""
        if self._channel is not None:
            self._channel.close()
        self.pool.shutdown(wait=True, cancel_futures=True)  # joins the process and the pool's thread
        process, self._context.process = self._context.process, None  # first: `kill` is not to meet a closed one
        ending = ending_of(process)
        if process is not None and process.pid is not None:
            kill_family(process.pid)
            process.close()
        remains = remains_of(ending, self.cursor, self._files)
        self.cursor.close()
        if self._files:
            self._files.close()
        return remains


def _outcome(asked: asyncio.Future[Reply]) -> Reply | Exception:
    """What became of a call."""
    if asked.cancelled():
        return BrokenExecutor("the worker does not answer any more")
    error = asked.exception()
    return asked.result() if error is None else error if isinstance(error, Exception) else BrokenExecutor(str(error))


def _seen(asked: asyncio.Future[Any]) -> None:
    """Nobody waits for this any more: an error of it is not to be reported as forgotten."""
    if not asked.cancelled():
        asked.exception()


def _let_go(pool: ProcessPoolExecutor) -> None:
    """Close this process's copies of the ends that only the worker uses: the one it reads from, and the other.

    While we hold it, the pipe of a worker that was killed in the middle of a large reply never ends: the pool's
    thread would wait for the rest of it for ever.
    """
    for end in _ends_of_the_worker(pool):
        end.close()


def _ends_of_the_worker(pool: ProcessPoolExecutor) -> tuple[Connection[Any, Any], Connection[Any, Any]]:
    private: Any = pool
    return private._result_queue._writer, private._call_queue._reader


def _close_once(end: Connection[Any, Any]) -> None:
    """Have it closed by one thread, whoever wants it closed.

    We close it when the worker is there, and the pool's thread when the worker is gone, maybe at the same moment:
    the second one would close whatever has the number by then.
    """
    lock, itself = threading.Lock(), weakref.ref(end)

    def close() -> None:
        if (end := itself()) is not None:
            with lock:
                type(end).close(end)

    end.close = close  # type: ignore[method-assign]
