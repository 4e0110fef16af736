"""`PipeFrame`: takes a pipeline, puts the parts together, runs it. It computes nothing itself."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as AnyExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import replace
from functools import partial
from os import PathLike
from types import ModuleType, TracebackType
from typing import Any, Literal, Never, Self, TypeVar
from weakref import WeakKeyDictionary

from pipeframe_async._engine.calls import Calls
from pipeframe_async._engine.delivering.results import Results
from pipeframe_async._engine.desk import Desk
from pipeframe_async._engine.lanes.workforce import Workforce
from pipeframe_async._engine.run import Run
from pipeframe_async._engine.runs import Runs
from pipeframe_async._engine.settling.checkpoint import Job, opened_job
from pipeframe_async._engine.signals import Owner, handled_signals
from pipeframe_async._engine.supervise import ended, spawn
from pipeframe_async._engine.watch import watched
from pipeframe_async._engine.wiring import Limits
from pipeframe_async._rules import knobs
from pipeframe_async._rules.feed_forms import Feed
from pipeframe_async._rules.spelling import refuse_option
from pipeframe_async.contracts import Checked, Executor, Logs, Opened
from pipeframe_async.errors import ConfigError, FeedError, InternalError, PipeFrameError, StateError
from pipeframe_async.executors import choose, hosts
from pipeframe_async.executors.defining.modules import shipped
from pipeframe_async.model import FeedLike
from pipeframe_async.observe.monitor.address import address_of
from pipeframe_async.observe.progress import MODES, progress_display
from pipeframe_async.observe.tracing import traced_run
from pipeframe_async.observe.watching import Condition, Wanted, Watching
from pipeframe_async.pipeline_engine import PipelineEngine
from pipeframe_async.plan import Plan, feed_of, instance_of, plan_of
from pipeframe_async.portal import Portal
from pipeframe_async.report import RunReport
from pipeframe_async.stats import Health, Stats

In = TypeVar("In")
Out = TypeVar("Out")


class PipeFrame:
    """Runs pipelines on all cores behind an event loop that stays responsive.

    Each `run` or `stream` starts workers and ends them. Inside `async with PipeFrame(...) as frame:` they
    stay warm between runs, and runs at the same time share them.

    Args:
        cpu_count: workers, ≥ 1. Default: usable cores (affinity and cgroup aware) − 1, at least 1; the one
            left over is the event loop's.
        buffer_size: most records between the feed and the consumer, ≥ 1.
        executor: `"processes"` (default), `"threads"`, `"inline"`, `"auto"`, or one you have made, which is used and
            never shut down: any `concurrent.futures.Executor`, or an object that is a `contracts.Executor`, as
            `pipeframe_async.testing.FakeExecutor` is. The latter has as many workers as its lanes have, and runs
            `teardown` when you `close` it. `"dask://host:port"`, the address of a Dask scheduler, or a
            `distributed.Client`: lanes on the cluster's workers, each in a process of its own there; `cpu_count` is
            how many at most, by default one for each thread, also of workers that join. Extra `dask`. `"auto"`: worker
            processes, but a chain whose records cost more to move than to work on goes on in one thread of this
            process, and back when that changes. There nothing protects this process from a step that crashes or hangs,
            records are not copied (a failure's record may have been changed by a step, what cannot be pickled is no
            failure), `buffer_bytes` counts records as large as those that were last pickled, and `setup` and
            `teardown` run in this process too. A chain with a `time_limit` always stays in the processes.
        buffer_bytes: most bytes of pickled records between the feed and the consumer, ≥ 1; guessed before any were
            pickled. A record that alone is larger goes by itself.
        drain_timeout: seconds that what is in flight has to finish after `stop()`.
        handle_signals: let SIGINT and SIGTERM stop the run, a second one abort it: then KeyboardInterrupt is raised,
            with the books in its `report`. For programs of your own; never inside somebody's app.
        progress: True or `"auto"` for a progress bar on standard error, or in a notebook (plain lines elsewhere),
            `"plain"`, `"json"`, False or `"none"` for nothing.
        name: for logs and thread names.
        stream_buffer_size: other spelling of `buffer_size`.
        max_worker_rss: resident bytes over which a worker is replaced after its batch; one that grows over them in
            the middle of a long record is killed, and the record tried alone. What `share` was given is not counted.
            None: no limit.
        call_queue: most calls that wait, ≥ 1, and as many bulk calls besides; who comes then gets `Overloaded`. More
            lets callers wait longer who have no deadline; fewer refuses bursts that could be served.
        max_worker_batches: batches after which a worker is replaced, for steps that leak something else. None:
            no limit. Only for `executor="processes"`, `"auto"` and Dask, as `max_worker_rss`.
        worker_timeout: seconds for which a run on a cluster waits while no worker has a lane, or the scheduler is away,
            before it ends with `WorkerLost`; on an executor that was given, while that has begun none of the batches it
            was sent. Default 60. Shorter does not bear a restart of the scheduler, longer is silence. Worker processes
            and threads of this library do not need it.
        ship_modules: modules of yours, or their names, that workers need not have: functions and classes of them, and
            of modules inside of them, are sent as those of a script are. They must be Python; what they import
            themselves workers must have, or it is named here too.
        monitor: where to show the live page, the metrics and the probes: `"host:port"`, port 0 for any that is free
            (`monitor_url` says which), True for `"127.0.0.1:8787"`. From a thread of its own, as long as the frame is
            open or a run is under way. Extra `monitor`.
        monitor_token: what requests must carry (`?token=`, or `Authorization: Bearer`); probes need none. Must be set
            where other machines can reach the address; False there: anybody may look.
        stall_after: seconds after which a run in which nothing has moved, without a reason, is not live.
        health_file: is written every 2 s, for probes that run a command (`pipeframe health FILE`), and removed at the
            end.
        report: a file the page is written to, as it is when runs have ended: it shows the last 16.
        unknown: nothing; an option of another place is refused, and told where it belongs.

    Raises:
        ConfigError: a value is wrong; it names the knob, the value and what is allowed.

    Process: the one that makes it. While it is open, or a run is under way, its methods are called on that event loop;
    `stop`, `stats` and `health` may be called from any thread.
    """

    def __init__(
        self,
        cpu_count: int | None = None,
        buffer_size: int | None = None,
        *,
        executor: str | AnyExecutor | Executor | None = None,
        buffer_bytes: int = 256 * 2**20,
        drain_timeout: float = 30.0,
        handle_signals: bool = False,
        progress: bool | str = False,
        name: str | None = None,
        stream_buffer_size: int | None = None,
        max_worker_rss: int | None = None,
        max_worker_batches: int | None = None,
        worker_timeout: float = choose.WORKER_TIMEOUT,
        ship_modules: Iterable[ModuleType | str] = (),
        monitor: str | bool = False,
        monitor_token: str | Literal[False] | None = None,
        stall_after: float = 60.0,
        health_file: str | PathLike[str] | None = None,
        report: str | PathLike[str] | None = None,
        call_queue: int = 1_000,
        **unknown: Never,
    ) -> None:
        if unknown:
            refuse_options("PipeFrame()", unknown)
        self._kind = choose.check(executor)
        self._workers = choose.workers(self._kind, cpu_count)
        self._wear = choose.wear(self._kind, max_worker_rss, max_worker_batches)
        self._ship_modules = shipped("ship_modules", ship_modules)
        self._worker_timeout = knobs.seconds("worker_timeout", worker_timeout)
        self._limits = Limits(
            buffer_size=_buffer_size(buffer_size, stream_buffer_size),
            buffer_bytes=knobs.positive_int("buffer_bytes", buffer_bytes),
            drain_timeout=knobs.seconds("drain_timeout", drain_timeout),
        )
        wanted = Wanted(
            address=address_of(monitor, monitor_token),
            stall_after=knobs.seconds("stall_after", stall_after),
            health_file=None if health_file is None else knobs.path("health_file", health_file),
            report=None if report is None else knobs.path("report", report),
            notify=knobs.flag("handle_signals", handle_signals),
        )
        self._watching = Watching(wanted, name or "pipeframe", self.stats, self._condition)
        self._call_queue = knobs.positive_int("call_queue", call_queue)
        self._handle_signals = knobs.flag("handle_signals", handle_signals)
        self._progress = progress if isinstance(progress, bool) else knobs.one_of("progress", progress, MODES)
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"name={name!r}: must be a string")
        self.name = name or "pipeframe"
        self._warm: Executor | None = None
        self._workforce: Workforce | None = None  # of the executor that was used last
        self._home: asyncio.AbstractEventLoop | None = None
        self._process = 0  # where its workers and runs are
        self._runs = Runs()
        self._consumers: WeakKeyDictionary[Run, asyncio.Task[Any] | None] = WeakKeyDictionary()  # who opened a stream
        self._desk: Desk | None = None  # where calls come in
        self._readying: set[asyncio.Task[None]] = set()  # what `ready` waits for

    async def run(
        self,
        pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
        feed: FeedLike[In] | None = None,
        *,
        load: FeedLike[In] | None = None,
        restart: bool = False,
        **unknown: Never,
    ) -> RunReport:
        """Run a pipeline until everything fed has its outcome.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one.
            feed: replaces the pipeline's own feed: any form of feed, or a function that returns one.
            load: the original's name for `feed`.
            restart: of a pipeline with a `checkpoint`: begin anew, whatever was done before.
            unknown: nothing; an option of another place is refused, and told where it belongs.

        Returns:
            The report: books that balance, times of each step, what bounded the run.

        Raises:
            ConfigError: something is wrong that can be known before a run; nothing has started.
            PipelineFailed: more records failed than `max_failures` allows.
            FeedError, StepError, SinkError, WorkerLost: see there. Each has the books in `report`.

        Cancellation: the feed is closed, what is in flight is aborted and counted so, workers are ended.
        """
        if unknown:
            refuse_options("PipeFrame.run()", unknown, ("feed", "load", "restart"))
        try:
            async with self._run(pipeline, feed, load, streaming=False, restart=restart) as run:
                return await run.execute()
        except KeyboardInterrupt as interrupt:
            if not hasattr(interrupt, "report"):
                raise
            raise interrupt.with_traceback(None) from None  # our own: nobody wants to see where in here it was raised

    @asynccontextmanager
    async def stream(
        self,
        pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
        feed: FeedLike[In] | None = None,
        *,
        load: FeedLike[In] | None = None,
        restart: bool = False,
        **unknown: Never,
    ) -> AsyncIterator[Results[Out]]:
        """Run a pipeline and iterate its results: `async with frame.stream(P) as results: async for r in results`.

        A consumer that is slow slows the feed. Leaving the block early stops the feed, abandons what is in
        flight and leaves nothing behind.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one. Its `sink` is not called.
            feed: replaces the pipeline's own feed.
            load: the original's name for `feed`.
            restart: as `run`. Of a job that was ended results of its last moments come once more.
            unknown: as `run`.

        Yields:
            The results in the pipeline's `order`; `results.batches()` has them by the list, `results.report` the report
            afterwards.

        Raises:
            ConfigError: at entry, as `run`.
            PipeFrameError: from the iteration, after the last result; from leaving the block where nobody saw it.
        """
        if unknown:
            refuse_options("PipeFrame.stream()", unknown, ("feed", "load", "restart"))
        async with self._run(pipeline, feed, load, streaming=True, restart=restart) as run:
            task = asyncio.get_running_loop().create_task(run.execute(), name=f"{self.name}-stream")
            self._consumers[run] = asyncio.current_task()
            try:
                yield run.results
                unseen = run.results.pending_error()
            finally:
                await _left(run, task)
            if unseen is not None:
                raise unseen
            if isinstance(late := run.results.pending_error(), (FeedError, InternalError)):
                raise late  # the feed could not be closed, or the books did not balance

    async def call(
        self,
        pipeline: type[PipelineEngine[In, Out]] | PipelineEngine[In, Out],
        record: In,
        *,
        deadline: float | None = None,
        bulk: bool = False,
    ) -> Out:
        """Take one record through the steps on warm workers, for request handlers: `await frame.call(P, record)`.

        Calls at the same time share batches; an idle frame answers in one hop, a busy one lets calls go together.
        Calls go before runs batch by batch, so a long run does not hold up calls; while calls wait, runs and bulk calls
        keep a tenth of the workers' time.

        Args:
            pipeline: a `PipelineEngine` subclass, or an instance of one that is used again: each keeps a chain of its
                own in the workers. Its `feed`, `sink`, `dead_letter` and `on_progress` are not used.
            record: what the first step gets.
            deadline: seconds within which its first step must begin. Where it is predicted not to, by what calls have
                taken so far, it is refused at once; where it has not, it never does. What has begun is finished, and
                its answer given: `asyncio.timeout` around the call bounds that too. None: it waits as long as it takes.
            bulk: it goes behind calls that are not, as runs do. With `order` by key, the order of bulk calls is theirs
                alone.

        Returns:
            The result; `DROP` where a step filtered the record; where steps fan out, a list of results, in order, and
            an empty one where there were none. The type is that of a result: of a pipeline that filters write it as
            `PipelineEngine[In, Out | Drop]`, of one that fans out as `PipelineEngine[In, list[Out]]`.

        Raises:
            ConfigError: as `run`; or `deadline` is no number of seconds above 0.
            StateError: the frame is not open, or was stopped or closed meanwhile.
            StepError: a step failed; its `failure` is the `Failure` of this record.
            Overloaded: `call_queue` calls wait, or it would wait, or has waited, for its `deadline`; no step has seen
                its record. `retry_after` says when to come again.
            WorkerLost: no worker can be started any more.

        Cancellation: the record gives up its place; if it is at work already its result is dropped.
        """
        self._check_open("call")
        assert self._desk is not None
        if deadline is not None:
            deadline = knobs.seconds("deadline", deadline)
        return await self._desk.call(  # type: ignore[no-any-return]
            pipeline, record, deadline, bulk=knobs.flag("bulk", bulk)
        )

    async def ready(self, *pipelines: type[PipelineEngine[Any, Any]] | PipelineEngine[Any, Any]) -> None:
        """Start all workers, and have each load the steps of these pipelines and run their `setup`.

        So the first request of a service does not wait for that. Without pipelines workers are only started.

        Args:
            pipelines: `PipelineEngine` subclasses, or the instances that are run or called later.

        Raises:
            ConfigError: as `run`.
            StateError: the frame is not open, or was closed meanwhile.
            StepError: a `setup` raised, or steps could not be loaded in a worker.
            WorkerLost: no worker could be started, or one died in `setup`.

        Cancellation: workers that have started stay.
        """
        self._check_open("ready")
        assert self._warm is not None
        plans = [self._shipping(plan_of(pipeline)) for pipeline in pipelines]
        readying = spawn(self._readied(self._warm, plans), f"{self.name}-ready")
        self._readying.add(readying)
        try:
            await readying  # a cancel of the caller cancels it; so does the frame's exit
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise StateError(f"{self.name} was closed before its workers were ready") from cancelled
        finally:
            self._readying.discard(readying)

    async def _readied(self, executor: Executor, plans: Sequence[Plan]) -> None:
        for plan in plans:
            await _fit(executor, plan)
        await self._workforce_of(executor).ready([plan.chain for plan in plans if plan.chain is not None])

    def _shipping(self, plan: Plan) -> Plan:
        """The plan, with the modules that go along with its chain."""
        if plan.chain is None or not self._ship_modules:
            return plan
        return replace(plan, chain=plan.chain._replace(by_value=self._ship_modules))

    def portal(self) -> Portal:
        """This frame for code that blocks, as WSGI apps and threads do: `with frame.portal() as portal`.

        It has an event loop in a thread of its own, and opens the frame there.
        """
        return Portal(self)

    def stop(self, pipeline: type[PipelineEngine[Any, Any]] | PipelineEngine[Any, Any] | None = None) -> None:
        """Stop feeding runs of this frame; they finish what is in flight and return normally.

        Calls that wait are finished too, and later ones begin anew. May be called from any thread and from signal
        handlers. A frame without runs ignores it.

        Args:
            pipeline: what was run; None stops all runs.
        """
        if self._home is not None and self._runs:
            with suppress(RuntimeError):  # the loop was closed meanwhile, and its runs with it
                self._home.call_soon_threadsafe(self._stop, pipeline)

    def stats(self) -> Stats:
        """What there is to see: the counters of all runs at the moment, or of the last one when none is running.

        And one by one the last runs that have ended, those that are under way, and the workers. Cheap enough for every
        second: some 0.5 ms a run. May be called from any thread.
        """
        there = self._workforce is not None and (self._runs or self._warm is not None)
        return replace(self._runs.stats(), workers=self._workforce.stats() if there and self._workforce else ())

    def health(self) -> Health:
        """Whether it is live and ready, and why not; for probes of one's own. May be called from any thread.

        Without `monitor=`, `health_file=` or a service manager nobody looks regularly: then what has moved is known
        since it was called last, and a loop that is blocked is not noticed.
        """
        return self._watching.health()

    @property
    def monitor_url(self) -> str | None:
        """Where the live page is; None while there is none."""
        return self._watching.url

    def _condition(self) -> Condition:
        desk = self._desk
        return Condition(refusing=desk is not None and desk.refusing, opened=desk is not None)

    async def __aenter__(self) -> Self:
        """Keep workers warm until the block is left."""
        self._check_process()
        self._check_closed()
        self._home = self._check_loop("open")
        async with AsyncExitStack() as undo:
            await undo.enter_async_context(self._watching)
            self._check_closed()  # somebody else may have opened it meanwhile
            executor = self._made()
            try:
                if isinstance(executor, Opened):
                    await executor.open()
                    self._check_closed()
            except BaseException:
                await executor.close(kill=True, timeout=self._limits.drain_timeout)
                raise
            self._warm = executor
            undo.pop_all()
        self._process = os.getpid()
        self._desk = Desk(self._begin_calls, self._runs.forget, self._call_queue)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop what still runs, then end the workers; at once where the block is left with an error."""
        executor, self._warm = self._warm, None
        desk, self._desk = self._desk, None
        if executor is None or self._process != os.getpid():
            return  # in a fork of the process that opened it, there is nothing to end
        if desk is not None:
            desk.close()
        for run in self._runs:
            run.abandon() if error is not None or self._left_behind(run) else run.stop()
        try:
            await ended([*self._readying])
            while not all(run.over for run in self._runs):
                await self._runs.ended.wait()  # runs end in tasks of their own, and ring
            if desk is not None:
                await desk.ended()  # callers are told there
        finally:
            try:
                await executor.close(kill=error is not None, timeout=self._limits.drain_timeout)
            finally:
                await self._watching.__aexit__()

    def _made(self) -> Executor:
        return choose.make(self._kind, self._workers, self._wear, self._worker_timeout)

    def _left_behind(self, run: Run) -> bool:
        """Whether nobody will take its results any more: who opened the stream has ended, or stands here and leaves."""
        consumer = self._consumers.get(run)
        return consumer is not None and (consumer.done() or consumer is asyncio.current_task())

    def _workforce_of(self, executor: Executor) -> Workforce:
        """Who has something to do in an executor's lanes: the same one for all runs that have these lanes."""
        if self._workforce is None or self._workforce.executor.lanes is not executor.lanes:
            self._workforce = Workforce(executor)
        return self._workforce

    def _begin_calls(self, plan: Plan, calls: Calls) -> Run:
        """The run that calls of one pipeline go through; it ends with the frame, or when the desk says so."""
        assert self._warm is not None
        feed = feed_of(plan.pipeline, calls.feed)
        workforce = self._workforce_of(self._warm)
        run = Run(
            self._shipping(plan),
            feed,
            workforce,
            self._limits,
            calls=calls,
            on_end=self._runs.ended.ring,
            number=self._runs.number(),
            trace=traced_run(plan.name, "calls"),
        )
        self._runs.add(run)
        return run

    @asynccontextmanager
    async def _run(self, pipeline: Any, feed: Any, load: Any, *, streaming: bool, restart: bool) -> AsyncIterator[Run]:
        """A run that is ready to be executed, and everything around it: workers, signals, progress."""
        engine = instance_of(pipeline)
        if feed is not None and load is not None:
            raise ConfigError("feed= and load= are two names for one thing: pass one of them")
        form = feed_of(engine, feed if feed is not None else load)
        plan = self._shipping(plan_of(engine, form, streams=streaming))
        self._check_process()
        self._home, self._process = self._check_loop("run"), os.getpid()
        async with self._watching, self._executed(plan, form, streaming=streaming, restart=restart) as run:
            yield run

    @asynccontextmanager
    async def _executed(self, plan: Plan, form: Feed, *, streaming: bool, restart: bool) -> AsyncIterator[Run]:
        warm, left_work, report = self._warm, False, None
        executor = warm or self._made()
        try:
            if warm is None and isinstance(executor, Opened):
                await executor.open()
            await _fit(executor, plan)
            workforce = self._workforce_of(executor)
            async with _job(plan, restart=restart) as job:
                run = Run(
                    plan,
                    form,
                    workforce,
                    self._limits,
                    streaming=streaming,
                    job=job,
                    on_end=self._runs.ended.ring,
                    number=self._runs.number(),
                    trace=traced_run(plan.name, "stream" if streaming else "run"),
                )
                self._runs.add(run)
                try:
                    with self._signals(run):
                        async with watched(progress_display(self._progress, partial(_shown, run, workforce))):
                            yield run
                finally:
                    self._runs.forget(run)
                    left_work, report = run.left_work, run.report
                    if warm is not None and isinstance(executor, Logs):
                        await executor.logs_handled()
        finally:
            if warm is None:
                try:
                    await executor.close(kill=left_work, timeout=self._limits.drain_timeout)
                except PipeFrameError as error:  # a teardown raised: the run itself was over, and has its books
                    error.report = error.report or report
                    raise

    @contextmanager
    def _signals(self, run: Run) -> Iterator[None]:
        """Signals stop the run, and abort it: then it ends as Ctrl-C ends a program, with its books in `report`."""
        task = asyncio.current_task()
        if not self._handle_signals or task is None:
            yield
            return
        aborted = False

        def abort() -> None:
            nonlocal aborted
            aborted = True
            task.cancel()

        try:
            with handled_signals(Owner(self._stop, abort, lambda: _left_of(run, self._limits.drain_timeout))):
                yield
        except asyncio.CancelledError:
            if not aborted:
                raise
            interrupt: Any = KeyboardInterrupt()
            interrupt.report = run.report
            raise interrupt from None

    def _check_process(self) -> None:
        if self._warm is not None or self._runs:
            hosts.check_not_forked(self._process, self.name)

    def _check_closed(self) -> None:
        if self._warm is not None and self._home is not None and not self._home.is_closed():
            raise StateError(
                f"{self.name} is open already: one `async with` at a time, runs inside it as many as you like"
            )

    def _check_open(self, verb: str) -> None:
        """That warm workers are there, and on the loop that runs here."""
        self._check_loop(verb)  # first: without asyncio nothing else is of use
        if self._desk is None:
            raise StateError(
                f"{self.name} is not open: {verb} needs warm workers, so put it inside `async with PipeFrame(...)`"
            )
        self._check_process()

    def _check_loop(self, verb: str) -> asyncio.AbstractEventLoop:
        """That asyncio runs here, and the loop is the frame's, where it is in use."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise StateError(
                f"{self.name}.{verb} needs asyncio's event loop, and none runs here. Under trio, or in a thread: "
                "`with frame.portal() as portal`, and call that in a thread"
            ) from error
        if self._home is not None and self._home is not loop and (self._runs or self._warm is not None):
            if self._home.is_closed():
                raise StateError(
                    f"{self.name} was opened on an event loop that is closed by now: make another PipeFrame"
                )
            raise StateError(
                f"{self.name} is in use on another event loop: use it there, make another PipeFrame, or share one "
                "among threads by `frame.portal()`"
            )
        return loop

    def _stop(self, pipeline: Any = None) -> None:
        for run in self._runs:
            if pipeline is None or run.is_of(pipeline):
                run.stop()


def refuse_options(caller: str, given: Mapping[str, object], options: Sequence[str] = ()) -> None:
    """Refuse what is no option of a caller's: of those it names, or of the frame's where it names none.

    Raises:
        ConfigError: it says where an option belongs, or what it is called.
    """
    of_frame = [name for name in inspect.signature(PipeFrame).parameters if name != "unknown"]
    refuse_option(caller, options or of_frame, of_frame, given)


def _shown(run: Run, workforce: Workforce) -> Stats:
    """What a display has to tell of: the counters of one run, and who works for it."""
    return replace(run.stats(), workers=workforce.stats())


async def _fit(executor: Executor, plan: Plan) -> None:
    """Have an executor ready for a plan: its workers have what it names, and the lanes that keys are tied to are there.

    Raises:
        ConfigError: they lack a module.
    """
    if plan.chain is not None and isinstance(executor, Checked):
        await executor.check(plan.chain)
    if callable(plan.order) and isinstance(executor, Opened):
        await executor.gathered()


def _job(plan: Plan, *, restart: bool) -> AbstractAsyncContextManager[Job | None]:
    """What is kept of a pipeline with a checkpoint, opened; nothing of others."""
    if plan.kept is not None:
        return opened_job(plan.kept.checkpoint, plan.kept.fingerprint, plan.kept.given, restart=restart)
    if restart:
        raise ConfigError(f"restart=True begins a job anew, and {plan.name} is none: it has no `checkpoint`")
    return nullcontext()


def _left_of(run: Run, drain_timeout: float) -> tuple[int, float]:
    """What a run has in flight, and how long that may take when it is stopped."""
    stats = run.stats()
    return stats.in_flight + stats.spilled, drain_timeout


async def _left(run: Run, task: asyncio.Task[RunReport]) -> None:
    """The block of a stream was left: end the run. Its error, if any, has been seen or is raised by the caller."""
    if not task.done():
        run.abandon()
    try:
        await asyncio.wait([task])  # the run closes its feed and books there; a cancel ends the wait, not the task
    finally:
        await ended([task])


def _buffer_size(buffer_size: int | None, stream_buffer_size: int | None) -> int:
    if buffer_size is not None and stream_buffer_size is not None:
        raise ConfigError("buffer_size and stream_buffer_size are two names for one knob: pass one of them")
    if stream_buffer_size is not None:
        return knobs.positive_int("stream_buffer_size", stream_buffer_size)
    return 10_000 if buffer_size is None else knobs.positive_int("buffer_size", buffer_size)
