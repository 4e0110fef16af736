"""Who takes part in a question about throughput: ours, the standard library, the others, as contestants.

A peer says how it is driven; a workload says what to do. What is not installed is left out, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from typing import Any

from benchmarks.contestants import ours, peers, peers_thirdparty
from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.installed import is_there
from benchmarks.works.workload import Chunks, Done, Workload, added_up, all_through, count_through

IDLE_TIMEOUT = 2.0
"""Seconds a worker of the original's design waits for a record that may still come; its default."""
WIDTHS = (4, 16, 64)
"""Records a user of `run_in_executor` may let be on their way at once."""

TUNED_IN_HASTE = ("executor", "hop")

Drive = Callable[[Callable[[Any], Any], Chunks], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One pool of processes that takes many records at once.

    Attributes:
        key: its name in files.
        label: its name for people.
        drive: gives it a function and chunks, and yields what comes back.
        cuts: whether it cuts chunks itself, and takes a function of one record.
        keeps_order: whether results come in feed order.
        package: what it is installed by; none for the standard library.
        module: what is imported of it.
    """

    key: str
    label: str
    drive: Drive
    cuts: bool = False
    keeps_order: bool = True
    package: str = ""
    module: str = ""

    @property
    def is_there(self) -> bool:
        """Whether it is installed here, with all that it needs itself."""
        return is_there(self.module or "multiprocessing")


STANDARD = (
    Peer("executor", "ProcessPoolExecutor.submit", peers.executor),
    Peer("pool", "Pool.imap_unordered", peers.older_pool, keeps_order=False),
    Peer("executor_map", "ProcessPoolExecutor.map(chunksize)", peers.executor_map, cuts=True),
    Peer(
        "pool_chunksize",
        "Pool.imap_unordered(chunksize)",
        peers.older_pool_chunksize,
        cuts=True,
        keeps_order=False,
    ),
)
THIRD_PARTY = (
    Peer("mpire", "mpire", peers_thirdparty.mpire, keeps_order=False, package="mpire", module="mpire"),
    Peer("joblib", "joblib", peers_thirdparty.joblib, package="joblib", module="joblib"),
    Peer("loky", "loky", peers_thirdparty.loky, package="loky", module="loky"),
    Peer("pypeln", "pypeln", peers_thirdparty.pypeln, keeps_order=False, package="pypeln", module="pypeln"),
    Peer(
        "aiomultiprocess",
        "aiomultiprocess",
        peers_thirdparty.aiomultiprocess,
        package="aiomultiprocess",
        module="aiomultiprocess",
    ),
    Peer("spdl", "SPDL", peers_thirdparty.spdl, package="spdl-core", module="spdl.pipeline"),
    Peer(
        "spdl_region",
        "SPDL to(processes, buffer_size)",
        peers_thirdparty.spdl_region,
        cuts=True,
        keeps_order=False,
        package="spdl-core",
        module="spdl.pipeline",
    ),
)


def of_ours(workload: Workload, executor: str | None = None) -> list[Contestant]:
    """This library, in each way that suits the workload; with an `executor` of its own, another set of keys."""
    name, words = (f"_{executor}", f', executor="{executor}"') if executor else ("", "")
    return [
        Contestant(
            key.replace("ours", f"ours{name}"),
            label.replace("ours", f"ours{words}"),
            workload.records_for(key),
            partial(way, workload, executor=executor),
            workload.expected,
            kind="ours",
            form="results" if way is ours.results else "counts",
        )
        for key, (label, way) in ours.WAYS.items()
        if way is not ours.counting_chunk_feed or workload.pages is not None
    ]


def of_pools(
    workload: Workload, sizes: Sequence[int], forms: Sequence[str] = ("counts", "results")
) -> list[Contestant]:
    """The pools that are here, with the size of a chunk to be found; the standard library's always in both forms."""
    found = [_pool(peer, "pool", workload, sizes, form) for peer in STANDARD for form in _forms(peer)]
    there = [peer for peer in THIRD_PARTY if peer.is_there]
    return found + [
        _pool(peer, "peer", workload, sizes, form)
        for peer in there
        for form in (_forms(peer) if peer.cuts else forms)  # what cuts has one form
    ]


def missing() -> list[Peer]:
    """The pools that are not installed."""
    return [peer for peer in THIRD_PARTY if not peer.is_there]


def is_here(key: str) -> bool:
    """Whether a peer can take part: one of the standard library's, or one that is installed."""
    return all(peer.is_there for peer in THIRD_PARTY if peer.key == key)


def of_plain(workload: Workload) -> list[Contestant]:
    """One loop in one process."""
    loop = partial(peers.plain_loop, workload)
    return [_alone("plain", "a plain loop, one process", loop, workload)]


def of_hops(workload: Workload) -> list[Contestant]:
    """What is written today with asyncio: a hop for each record."""
    hop = _alone("hop", "run_in_executor per record", partial(peers.hop_per_record, workload), workload)
    return [replace(hop, form="results", choices=WIDTHS, knob="width")]


def of_original(workload: Workload, idle_timeout: float = IDLE_TIMEOUT) -> list[Contestant]:
    """The design this library follows: a queue hop for each record, with and without its idle tail."""
    design = partial(peers.queue_and_workers, workload)
    no_tail, tail = partial(design, idle_timeout=None), partial(design, idle_timeout=idle_timeout)
    label = "the original's design"
    return [
        _alone("original", label, no_tail, workload),
        _alone("original_idle_tail", f"{label}, {idle_timeout:g} s idle tail", tail, workload),
    ]


def quick(contestants: Sequence[Contestant]) -> list[Contestant]:
    """The same with next to nothing to do, and two knobs to find: shows that everything runs, and not how fast."""
    return [
        replace(
            c, records=max(1, c.records // 100), choices=c.choices[1:3] if c.key in TUNED_IN_HASTE else c.choices[1:2]
        )
        for c in contestants
    ]


def _alone(key: str, label: str, run: Callable[..., Done], workload: Workload) -> Contestant:
    kind = "original" if key.startswith("original") else key
    return Contestant(key, label, workload.records_for(key), run, workload.expected, kind=kind)


def _forms(peer: Peer) -> tuple[str, ...]:
    return ("results",) if peer.cuts else ("counts", "results")


def _pool(peer: Peer, kind: str, workload: Workload, sizes: Sequence[int], form: str) -> Contestant:
    label = peer.label if peer.cuts else f"{peer.label}, chunked"
    return Contestant(
        peer.key if form == "counts" or peer.cuts else f"{peer.key}_results",
        label if form == "counts" else f"{label}, with results",
        workload.records_for(peer.key),
        partial(_counts if form == "counts" else _whole if peer.cuts else _results, peer.drive, workload),
        workload.expected,
        kind=kind,
        form=form,
        keeps_order=peer.keeps_order,
        choices=tuple(sizes),
        knob="chunk size",
        version=version(peer.package) if peer.package else "",
    )


def _counts(drive: Drive, workload: Workload, records: int, size: int) -> Done:
    function = partial(count_through, workload.through, workload.total)
    return added_up(drive(function, Chunks(workload.feed, records, size)))


def _results(drive: Drive, workload: Workload, records: int, size: int) -> Done:
    chunks = drive(partial(all_through, workload.through), Chunks(workload.feed, records, size))
    return workload.look(chain.from_iterable(chunks))


def _whole(drive: Drive, workload: Workload, records: int, size: int) -> Done:
    return workload.look(drive(workload.through, Chunks(workload.feed, records, size)))
