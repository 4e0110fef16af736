"""Who is in the torture table: ours and the peers, by name, with the module that must be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

from benchmarks.contestants.installed import is_there
from benchmarks.torturing import peers
from benchmarks.torturing.job import Job


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to get records through a step.

    Attributes:
        key: its name in files.
        label: its name for people.
        batches: who cuts batches: the library, a user's hand, or nobody.
        home: where its function is.
        module: what must be importable; None for the standard library.
        package: the name it is installed by.
        ours: whether it is this library.
    """

    key: str
    label: str
    batches: str
    home: str
    module: str | None = None
    package: str | None = None
    ours: bool = False

    @property
    def is_there(self) -> bool:
        """Whether it is installed here, with all that it needs itself."""
        return is_there(self.module or "multiprocessing")

    @property
    def version(self) -> str:
        """Which one is installed here; empty for the standard library, which has Python's."""
        return version(self.package) if self.package else ""

    def do(self, job: Job) -> None:
        """Do the work; what is needed for it is imported only now."""
        module, _, function = self.home.partition(":")
        work: Callable[[Job], None] = getattr(import_module(module), function)
        work(job)


def _peer(work: Callable[[Job], None], label: str, batches: str, module: str = "", package: str = "") -> Contestant:
    home = f"{work.__module__}:{work.__name__}"
    return Contestant(work.__name__, label, batches, home, module or None, package or module or None)


def _ours(function: str, label: str) -> Contestant:
    home = f"benchmarks.torturing.ours:{function}"
    return Contestant(f"ours_{function}", label, "library", home, "pipeframe_async", "pipeframe_async", ours=True)


CONTESTANTS = {
    contestant.key: contestant
    for contestant in (
        _ours("self_tuning", "ours"),
        _ours("fixed_batches", "ours, batch_size fixed"),
        _peer(peers.executor_map, "ProcessPoolExecutor.map", "library"),
        _peer(peers.pool_imap, "multiprocessing.Pool.imap_unordered", "library"),
        _peer(peers.mpire_imap, "mpire imap_unordered", "library", "mpire"),
        _peer(peers.joblib_parallel, "joblib Parallel", "library", "joblib"),
        _peer(peers.pebble_map, "pebble map", "library", "pebble", "Pebble"),
        _peer(peers.spdl_region, "SPDL to(processes)", "library", "spdl", "spdl-core"),
        _peer(peers.executor_by_hand, "ProcessPoolExecutor.submit", "by hand"),
        _peer(peers.pool_by_hand, "multiprocessing.Pool.imap_unordered", "by hand"),
        _peer(peers.mpire_by_hand, "mpire apply_async", "by hand", "mpire"),
        _peer(peers.loky_by_hand, "loky submit", "by hand", "loky"),
        _peer(peers.spdl_by_hand, "SPDL pipe(executor)", "by hand", "spdl", "spdl-core"),
        _peer(peers.streamable_by_hand, "streamable map(executor)", "by hand", "streamable"),
        _peer(peers.pebble_one_by_one, "pebble schedule", "none", "pebble", "Pebble"),
        _peer(peers.pypeln_map, "pypeln process.map", "none", "pypeln"),
    )
}
