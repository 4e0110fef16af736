"""Everything that shows a frame to others: the monitor, the health file, the service manager, the report.

They are there as long as the frame is open or a run is under way, and read the same snapshots, which the pulse takes on
the loop. Nothing here has counters of its own.

Process: the parent. `begin` and `end` on the loop; the monitor and what is kept up to date have a thread each.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from pipeframe_async._rules.health import health
from pipeframe_async.errors import text_of
from pipeframe_async.observe import health_file, meter
from pipeframe_async.observe.counters import overall_rate, phrases
from pipeframe_async.observe.families import Seen
from pipeframe_async.observe.monitor.address import Address, listening, url_of
from pipeframe_async.observe.monitor.page import write_report
from pipeframe_async.observe.monitor.view import View
from pipeframe_async.observe.pulse import Pulse
from pipeframe_async.observe.service import Service
from pipeframe_async.stats import Health, Stats

if TYPE_CHECKING:
    from pipeframe_async.observe.monitor.server import Server

logger = logging.getLogger("pipeframe_async")

MONITOR: Final = "pipeframe_async.monitor"
"""The logger that says, at level INFO, where a monitor is."""
SERVER: Final = "pipeframe_async.observe.monitor.server"
TICK: Final = 0.5
"""Seconds between two looks at what is to be told. Shorter costs the GIL, longer tells late."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of it a user wants.

    Attributes:
        address: where the monitor listens; None: nowhere.
        stall_after: seconds after which a frame in which nothing moves is not live.
        health_file: is written every few seconds.
        report: where the frozen page is written when a run has ended.
        notify: the program is ours: its service manager is told, where it asks.
    """

    address: Address | None = None
    stall_after: float = 60.0
    health_file: Path | None = None
    report: Path | None = None
    notify: bool = False


class Condition(NamedTuple):
    """Whether a frame refuses calls just now, and whether it is open, so that runs and calls may begin."""

    refusing: bool = False
    opened: bool = False


class Watching:
    """Shows one frame, from when it is entered until it is left; it may be entered several times at once.

    Args:
        wanted: to whom.
        name: the frame's.
        look: takes a snapshot, on the loop or elsewhere.
        condition: what a snapshot does not tell.
    """

    def __init__(
        self, wanted: Wanted, name: str, look: Callable[[], Stats], condition: Callable[[], Condition]
    ) -> None:
        self._wanted = wanted
        self._look = look
        self._condition = condition
        self._view = View(name)
        self._service = Service() if wanted.notify else None
        if self._service is not None and not self._service.asks:
            self._service = None
        tells = wanted.health_file is not None or self._service is not None
        self._pulse = Pulse(self._seen)
        self._looks = bool(wanted.address or wanted.report or tells)  # also where a meter asks
        self._users = 0
        self._server: Server | None = None
        self._leaving: Server | None = None  # it was told to end
        self._keeper = _Keeper(self, self._service, wanted.health_file) if tells else None
        self.url: str | None = None

    async def __aenter__(self) -> Self:
        """The frame is opened, or a run begins; on its loop.

        Raises:
            ConfigError: the monitor cannot listen where it is to.
        """
        if self._wanted.address is not None:
            await self._gone()  # it has the port
            await _loaded(SERVER)
        self._begin()
        return self

    def _begin(self) -> None:
        if not self._users:
            if self._wanted.address is not None:
                self._serve(self._wanted.address)
            meter.begin(self, self._to_measure)
            if self._looks or meter.asked():
                self._pulse.begin()
            if self._keeper is not None:
                self._keeper.begin()
        self._users += 1
        self._pulse.hurry()

    def _to_measure(self) -> Seen:
        return Seen(self._pulse.stats, self._pulse.lateness())

    def _serve(self, address: Address) -> None:
        listens = listening(address)
        from pipeframe_async.observe.monitor.metrics import Metrics
        from pipeframe_async.observe.monitor.server import Server

        self.url = url_of(listens)
        self._server = Server(listens, _Shown(self, Metrics(self._to_measure).exposed), address.token)
        self._server.begin()
        logging.getLogger(MONITOR).info("the monitor is at %s", self.url)

    async def __aexit__(self, *error: object) -> None:
        """A run has ended, or the frame is closed; the last one takes all of it along.

        Cancellation: the monitor ends all the same, and nobody waits until it has.
        """
        self._end()
        await self._gone()

    def _end(self) -> None:
        self._users -= 1
        if self._users:
            self._pulse.hurry()
            return
        with ExitStack() as ends:  # in the reverse order, each whatever became of the others
            if self._server is not None:
                self._leaving, self._server, self.url = self._server, None, None
                ends.callback(self._leaving.end)
            if self._keeper is not None:
                ends.callback(self._keeper.end)
            ends.callback(self._report)
            ends.callback(meter.end, self)
            if self._pulse.beats:
                self._pulse.end()

    def _report(self) -> None:
        if self._wanted.report is None:
            return
        try:
            write_report(self._wanted.report, self.told(tracebacks=True))
        except OSError as error:
            logger.warning("the report could not be written to %s: %s", self._wanted.report, text_of(error))

    async def _gone(self) -> None:
        """When the monitor has stopped that was told to: until then its port is not free."""
        if (leaving := self._leaving) is not None:
            await leaving.gone()
            if self._leaving is leaving:
                self._leaving = None

    def _seen(self) -> Stats:
        stats = self._look()
        self._view.see(stats)
        return stats

    def health(self) -> Health:
        """How it is; by the last snapshot where the loop may be blocked, else by a new one."""
        pulse = self._pulse
        refusing, opened = self._condition()
        return health(
            pulse.stats if pulse.beats else self._look(),
            stall_after=self._wanted.stall_after,
            blocked=pulse.blocked(),
            refusing=refusing,
            opened=opened,
        )

    def told(self, *, tracebacks: bool = False) -> dict[str, Any]:
        """What the page shows."""
        return self._view.told(self._pulse.stats, self.health(), self._pulse.lateness(), tracebacks=tracebacks)

    @property
    def abandoned(self) -> bool:
        """Whether its loop was closed, and the frame was not."""
        return self._pulse.abandoned

    @property
    def stats(self) -> Stats:
        """The last snapshot."""
        return self._pulse.stats

    def status(self) -> str:
        """Where it is, in a line."""
        return " · ".join(phrases(self.stats, overall_rate(self.stats)))


async def _loaded(module: str) -> None:
    """Load a module in a thread, where it is not: servers take a tenth of a second."""
    if module in sys.modules:
        return
    loop, loaded = asyncio.get_running_loop(), asyncio.Event()

    def load() -> None:
        try:
            import_module(module)
        finally:  # what it raised is raised once more by whoever needs it
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(loaded.set)

    threading.Thread(target=load, name="pipeframe-load", daemon=True).start()
    await loaded.wait()


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the server asks."""

    watching: Watching
    metrics: Callable[[str], tuple[bytes, str]]

    def told(self, *, tracebacks: bool = False) -> dict[str, Any]:
        return self.watching.told(tracebacks=tracebacks)

    def health(self) -> Health:
        return self.watching.health()

    def abandoned(self) -> bool:
        return self.watching.abandoned


class _Keeper:
    """Keeps the health file and the service manager up to date, in a thread, whatever the loop is at."""

    def __init__(self, watching: Watching, service: Service | None, path: Path | None) -> None:
        self._watching = watching
        self._service = service
        self._path = path
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._keep, name="pipeframe-health", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(TICK)
        self._forget()

    def _forget(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        tick, said, stopping = TICK, "", False
        if self._service is not None and self._service.interval is not None:
            tick = min(tick, self._service.interval)
        written = -health_file.EVERY
        while True:
            health, now = self._watching.health(), time.monotonic()
            if self._path is not None and now - written >= health_file.EVERY:
                written = now
                said = self._write(self._path, health, said)
            if self._service is not None:
                self._service.tell(health, self._watching.status())
                if not stopping and any(
                    run.state == "draining" and run.ended_by == "stopped" for run in self._watching.stats.runs
                ):
                    stopping = True
                    self._service.stopping()
            if self._watching.abandoned:
                self._forget()
                return
            if self._over.wait(tick):
                if self._service is not None and not stopping:
                    self._service.stopping()
                return

    @staticmethod
    def _write(path: Path, health: Health, said: str) -> str:
        try:
            health_file.write(path, health)
        except OSError as error:
            if (text := text_of(error)) != said:
                logger.warning("the health file %s cannot be written: %s", path, text)
            return text
        return ""
