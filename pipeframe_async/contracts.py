"""The ports of the house: what the engine asks of an edge, and nothing more.

Implementations never import the engine; the engine never imports an implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pipeframe_async.model import AnyFailure
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed, Reply


class Lane(Protocol):
    """Where batches are run: a worker process, or somebody's whole executor."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def workers(self) -> int:
        """How many batches it runs at the same time."""

    @property
    def slots(self) -> int:
        """How many batches it takes at once; what is above `workers` waits inside it."""

    async def start(self) -> None:
        """Be ready to run. May be called again; where a worker was lost it starts another.

        Raises:
            WorkerLost: no worker could be started, in several attempts.
        """

    async def run(self, chain: ChainRef, number: int, batch: Packed, *, ship: bool) -> Reply | Death:
        """Run one batch; `ship`: its results are wanted.

        Returns:
            The worker's reply; or its death, after which the lane can be given the batch again, or parts of it. A reply
            that is `suspended` is a portion: the lane is called again with a batch that `resumes`, and where that is
            gone with its worker, the reply's refusal says so.

        Raises:
            WorkerLost: there is no worker any more, and will be none.

        Cancellation: the batch is given up; one that goes on for long is ended with its worker.
        """

    def drop(self, token: int) -> None:
        """Nobody wants the rest of the batch that is suspended under this number. Never raises, and does not wait."""


class Codec(Protocol):
    """How records get to a worker and results back: bytes out, bytes in."""

    @property
    def live(self) -> bool:
        """Whether records are handed over as they are: then packing takes no time, however large they are."""

    def pack(self, records: Sequence[Any], step: str, *, aside: bool = False) -> tuple[Packed, dict[int, AnyFailure]]:
        """Records as bytes, and by its index a failure (named after `step`) for each that has none.

        Args:
            records: the records.
            step: the first one they go to.
            aside: called in a thread, and to let the loop have its turns.
        """

    def pack_frames(self, records: Sequence[Any], step: str) -> tuple[Packed, dict[int, AnyFailure]]:
        """The same with a pickle for each record, and an empty one for those that have none."""

    def unpack(self, reply: Reply, step: str, *, aside: bool = False) -> tuple[list[Any], dict[int, AnyFailure]]:
        """The results of a reply, and by its index a failure (named after `step`) for each frame that cannot be read.

        `aside`: as in `pack`.

        Raises whatever reading raises when the results came as one pickle.
        """

    def record(self, frame: bytes) -> Any:
        """A record from its frame; the frame itself where it cannot be read."""

    def failures(self, reply: Reply, names: Sequence[str]) -> list[tuple[int, AnyFailure]]:
        """The failures of a reply, each with its record's index, and with the record as it was fed."""


class Executor(Protocol):
    """Where `def` steps run."""

    @property
    def where(self) -> str:
        """What reports call it, e.g. `"worker"`."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """Its lanes; at least one."""

    @property
    def codec(self) -> Codec:
        """How records travel."""

    @property
    def restarts(self) -> int:
        """Workers replaced so far."""

    @property
    def beside(self) -> Executor | None:
        """Where chains are run whose work is less than it takes to move their records: in this process, one lane."""

    def load(self, chain: ChainSpec) -> ChainRef:
        """Make a chain ready to run here.

        Raises:
            ConfigError: a step cannot be shipped; the message names it.
        """

    async def close(self, *, kill: bool, timeout: float) -> None:
        """End all workers: after their batch and their `teardown`, or at once with `kill`.

        Args:
            kill: do not wait for what is being run.
            timeout: seconds to wait before killing after all.

        Raises:
            StepError: a `teardown` raised; everything is closed all the same.
        """


class Display(Protocol):
    """Shows a run's progress; it knows where to get the numbers. Its owner calls its methods in order, from one thread.

    Must neither raise nor wait.
    """

    def start(self) -> None:
        """Appear."""

    def update(self) -> None:
        """Show the numbers as they are now; called a few times a second."""

    def finish(self) -> None:
        """Show the last numbers and go."""
