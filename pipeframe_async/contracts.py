"""The ports of the house: what the engine asks of an edge, and nothing more. `Source` and `Sink` are public.

Implementations never import the engine; the engine never imports an implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from pipeframe_async.model import AnyFailure, Fed
from pipeframe_async.report import RunReport
from pipeframe_async.wire import ChainRef, ChainSpec, Death, Packed, Reply

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Source(Protocol[T_co]):
    """A feed that is an object: `feed = Orders(...)` in a pipeline's class, or passed as `feed=`.

    It is iterated once a run: on the loop by `__aiter__`, or by `__iter__` in a thread where it has only that. One with
    an `async def take(self, room)`, that says `streams` or `live`, is asked instead: for a list of at least one record
    and at most `room`, or None at its end; so it takes no more from its server than the run has room for. A `take` that
    is cancelled must lose none. All else may be missing, and is looked at before a run begins:

    - `__aenter__` and `__aexit__` (or `__enter__` and `__exit__`, called in a thread): it is entered before its first
      record, and left when the last of its deliveries has been answered, with the error that has ended the run, if one
      has. It is left once, also after a cancel; it has `drain_timeout` seconds to close.
    - `decode`, a plain function of one record: it is run in the workers, as the first step, so that the loop moves
      bytes. What it cannot read is that record's failure, of the step `decode`, with the raw value as its record.
      Where the first step is `async def`, it is called on the loop, and the report says so. It has to pickle: a
      function of a module or a static method does, a bound method takes its object along.
    - `streams = True`, on the class: it is worked on as it is read. Where the pipeline's class does not say otherwise,
      it is a stream without an idle timeout.
    - `live = True`, on the class: besides, it goes on for ever. Where the pipeline's class does not say otherwise,
      results come in order of completion, and failures do not end the run. It may say how it stands with its server,
      by `counts()`, a `SourceCounts`, which must return at once and may be called in any thread; and by `lease` after
      how many seconds that gives a record to others which has no answer: a `time_limit` of more than half is refused.
    - `results = True`, on the class: results come back to the program also where there is no sink, for the `outcome` of
      its deliveries.
    - `replays = True`, on the class: it yields once more what the pipeline's own feed has yielded, and that had failed.
      It is decoded as that is; failures are the feed's own to keep, by `nack`, and no `dead_letter` is used, nor
      `max_failures` and `checkpoint`.
    - `shared = True`: it may be used by several runs at once. Any other that is entered is refused there, by name.
    - `position` and `seek(position)`, of a job with a checkpoint: `position`, an attribute or property, is looked at
      where the feed is pulled, as it stands at its `yield`: a JSON value that says where it is behind what it has
      yielded, or None where it cannot be gone back to. `seek`, called once before it is iterated, and after it was
      entered, has it begin there. One that cannot, because there is less than there was, raises `CheckpointMismatch`.
      What has none is pulled again from its beginning, and must yield the same records in the same order.

    Errors: what it raises as it is entered, iterated or left is a `FeedError`, with its cause.

    Process: the parent, but for `decode`.
    """

    async def __aenter__(self) -> object:
        """Open it."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close it; what it returns means nothing."""

    def __aiter__(self) -> AsyncIterator[Fed[T_co]]:
        """Records, a `Chunk` of many, or a `Delivery` that is answered."""


class Sink(Protocol[T_contra]):
    """A sink that is an object: `sink = Table(...)` in a pipeline's class; as `dead_letter` it is given failures.

    `write` is called with lists of results, in the pipeline's order, one call at a time; when it returns they count as
    delivered, and their deliveries are acked. It may be a plain `def`: then it is called in a thread. Where it takes a
    second argument, `write(self, records, keys)`, it is given the `Delivery.key` of each result's record too, None
    where it came without. All else may be missing:

    - `__aenter__` and `__aexit__` (or `__enter__` and `__exit__`, in the thread of `write`): it is entered before the
      first record is fed, and left when the last `write` has returned and before `run` does, with the error that has
      ended the run, if one has: so a file is whole, or is not there.
    - `encode`, a plain function of one result: it is run in the workers, as the last step, also for records that bypass
      others; on the loop where the last step is `async def`, and for those that bypass steps before async ones. What it
      raises is that record's failure, of the step `encode`. A `dead_letter` has none.
    - `shared = True`: as of a `Source`.
    - `whole = True`: what it was given is there when it has been left without an error, and not before. Then acks wait
      for that, where the feed is an object that is entered, and so is still there, and `on_progress` is told behind
      them; after an error they are nacked. Such a run should have an end. A feed that gives out only so many records
      before it has their acks gives no more then, and its run ends by `timeout`, or never.
    - `pipeline_name`, an attribute: is set to the name of the pipeline before it is entered.
    - `position()` and `restore(position)`, of a job with a checkpoint; called as `write` is, and never beside it.
      `position` says, as a JSON value, what there is of all that `write` has returned from: it must survive the end of
      the process. `restore`, called once, after it was entered and before the first `write`, has it as it was at that
      position: what came after it is taken away. It is called with None where the job begins. After it, an error that
      has ended the run is no reason to remove what is there. Where it has become less than it was, it raises
      `CheckpointMismatch`, and changes nothing. What has none may be given the last results again.

    Errors: what it raises is a `SinkError`, with its cause; what it did not take is `aborted`.

    Process: the parent, but for `encode`.
    """

    async def __aenter__(self) -> object:
        """Open it."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close it; what it returns means nothing."""

    async def write(self, records: Sequence[T_contra]) -> None:
        """Take some results: a list."""


class Lane(Protocol):
    """Where batches are run: a worker process, or somebody's whole executor.

    It may have `stats()` besides, a `WorkerStats` that says what its worker is at; it is called from any thread, and
    returns at once. Of one that has none is shown what it was given.
    """

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


@runtime_checkable
class Opened(Protocol):
    """What an `Executor` may be besides: one that has to be opened before it is known what lanes it has.

    A lane of it may wait for its place for as long as others work, and lose it before it has it. A run that is done
    does not wait for that. Its lanes have `began`, which is true from when they had their first place; those that
    have it are the first ones.
    """

    async def open(self) -> None:
        """Find out, once; before anything else is asked of it but `close`, which is called whatever comes of it.

        Raises:
            ConfigError: it cannot be used as it is.
            WorkerLost: there are no workers.
        """

    async def gathered(self) -> None:
        """Wait a little for lanes that are to have a place: a run whose keys are tied to lanes has no others."""


@runtime_checkable
class Threaded(Protocol):
    """What an `Executor` may be besides: one with threads in this process that share no GIL, for chains that are as
    fast there as in its workers.
    """

    @property
    def threads(self) -> Sequence[Executor]:
        """One of one lane for each lane, which stands in for it: keys that are tied to a lane are tied to its thread.
        `beside` is the first. None where threads do share one.
        """


@runtime_checkable
class Checked(Protocol):
    """What an `Executor` may be besides: one whose workers may lack modules that are here."""

    async def check(self, chain: ChainSpec) -> None:
        """Find out whether its workers have what a chain names, before a run of it begins.

        Raises:
            ConfigError: they lack a module.
        """


@runtime_checkable
class Cedes(Protocol):
    """What a `Lane` may be besides: one whose worker leaves records of a batch that have not begun to others."""

    def waits_behind(self, batch: Packed) -> Hashable:
        """What records of the batch that it was given wait behind, and others could have: the same value for as long as
        that is the same. None where there are none, or it was asked to cede already.
        """

    async def cede(self, batch: Packed) -> int | None:
        """Have the batch end before the first of its records that has not begun.

        Returns:
            The index from which on its records are not run here; None where that cannot be had, or told. Its reply may
            be of fewer records all the same.
        """


@runtime_checkable
class Logs(Protocol):
    """What an `Executor` may be besides: one whose workers are elsewhere, and send what steps log there."""

    @property
    def logs_dropped(self) -> int:
        """Lines that were not handled, because there was no room for them; since it was made."""

    async def logs_handled(self) -> None:
        """Wait until those that have come are handled; within a bound. At the end of a run; `close` does the same."""


class RecordTrace(Protocol):
    """The span of one record, from its intake until its outcome is final. Must not raise, nor wait."""

    @property
    def traceparent(self) -> str:
        """Of this span, for its steps."""

    def step(self, name: str, began: int, ended: int, *, failed: bool) -> None:
        """A step has had it, between these nanoseconds since the epoch."""

    def ended(self, failure: AnyFailure | None, *, aborted: bool) -> None:
        """Its outcome is final."""


class RunTrace(Protocol):
    """Makes the spans of one run. Must not raise, nor wait; called on the loop."""

    def record(self, position: int, context: object) -> RecordTrace | None:
        """A record has come: with the context it was delivered with, or None in its caller's. None: not traced."""

    def batch(self, traced: Sequence[RecordTrace], *, records: int, lane: str, began: float, ended: float) -> None:
        """A batch has come back, with these records that are traced among so many; seconds since the epoch."""

    def ended(self, report: RunReport, error: BaseException | None) -> None:
        """The run is over."""


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
