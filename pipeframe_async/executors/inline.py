"""`executor="inline"`: steps run on the event loop, in this process. For tests and debuggers.

The envelope is the same as in worker processes, so a pipeline behaves the same; only nothing protects the loop from a
slow step, or this process from a crash, and records and results are not pickled: they are handed over as they are.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from pipeframe_async._worker import envelope
from pipeframe_async._worker.whereabouts import placed
from pipeframe_async.contracts import Executor
from pipeframe_async.errors import StepError
from pipeframe_async.executors import attributes
from pipeframe_async.executors.packing import Packing
from pipeframe_async.executors.returned import Returned
from pipeframe_async.executors.shipping import ship as ship_chain
from pipeframe_async.wire import ChainRef, ChainSpec, Packed, Reply

logger = logging.getLogger("pipeframe_async")

_keys = count()


def warn_of_time_limit(chain: ChainSpec, where: str) -> None:
    """Say that a limit cannot be kept: only what runs in a process of its own can be ended in the middle."""
    if chain.time_limit is not None:
        logger.warning(
            "time_limit=%g is not kept %s: only executor='processes' can end a step", chain.time_limit, where
        )


class InProcessChains:
    """Chains given to this very process, unpickled: steps see the program's own objects."""

    def __init__(self, returned: Returned | None = None) -> None:
        self._in_use = False
        self._keys: list[str] = []
        self._own = next(_keys)
        self._returned = returned or Returned()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process."""
        self._used()
        warn_of_time_limit(chain, "in this process")
        key = f"in-process-{next(_keys)}"
        envelope.install(key, chain)
        self._keys.append(key)
        return ChainRef(key, None, teardowns=self._returned.of(key))

    def _used(self) -> None:
        """From here on what steps log has its attributes."""
        if not self._in_use:
            self._in_use = True
            attributes.enter()

    def _known_as(self, key: str) -> str:
        """By what key the executor knows a chain."""
        return key

    def close(self) -> None:
        """Run the chains' `teardown`s and drop them."""
        keys, self._keys = self._keys, []
        problems = [text for key in keys for text in envelope.forget(key)]  # what they log has its attributes too
        for key in keys:
            for _, value in envelope.returned(key):
                self._returned.came(self._known_as(key), value)
        if self._in_use:
            self._in_use = False
            attributes.leave()
        if problems:
            raise StepError(f"teardown raised:\n{problems[0]}")


class CopiedChains(InProcessChains):
    """Chains as a worker has them: copies. What `setup` and steps keep in their pipeline stays out of the program's.

    A pipeline of the program's that held what `setup` has opened could not be sent to the next worker.
    """

    def load(self, chain: ChainSpec) -> ChainRef:
        """Pickle the chain; it is loaded, and its `setup` run, where its first batch is. The same chain is so once."""
        self._used()
        shipped = ship_chain(chain)
        key = f"copied-{self._own}-{shipped.key}"
        if key not in self._keys:
            self._keys.append(key)
        return ChainRef(key, shipped.data, teardowns=self._returned.of(shipped.key))

    def _known_as(self, key: str) -> str:
        return key.removeprefix(f"copied-{self._own}-")


class InlineLane:
    """The loop itself as a lane."""

    name = "the event loop"
    workers = 1
    slots = 1

    async def start(self) -> None:
        """Nothing to start."""

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply:
        """Run the batch here, after everybody else had a turn of the loop."""
        await asyncio.sleep(0)  # the loop's one turn: nothing else runs until the batch is done
        call = envelope.work, chain.key, chain.data, number, batch.data, ship, batch.span
        return placed(batch.positions, self.name, *call, portions=batch.portions, traced=batch.traced, live=True)

    def drop(self, token: int) -> None:
        """Close its generators here."""
        envelope.drop(token)


class InlineExecutor:
    """One lane, the loop."""

    where = "inline"
    beside: Executor | None = None
    restarts = 0

    def __init__(self) -> None:
        self.codec = Packing(live=True)
        self.lanes = (InlineLane(),)
        self._chains = InProcessChains()

    def load(self, chain: ChainSpec) -> ChainRef:
        """Install the chain in this process."""
        return self._chains.load(chain)

    async def close(self, *, kill: bool, timeout: float) -> None:
        """Run the teardowns."""
        self._chains.close()
