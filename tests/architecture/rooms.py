"""The table of rooms of `docs/architecture.md`, as data. A change here is a change of the picture there."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.architecture.imports import Room

WORDS: Final = frozenset(
    {
        "errors",
        "model",
        "report",
        "stats",
        "steps",
        "wire",
        "contracts",
        "pipeline_engine",
        "failures",
        "weight",
        "compression",
        "text_files",
        "urls",
        "checkpoint",
        "claims",
        "state_file",
        "databases",
        "keeping",
        "locks",
        "counting",
        "traceparent",
        "unnamed",
        "shared_file",
        "shared",
        "exiting",
        "gil",
        "folding",
    }
)
"""Values and contracts, which everything may name. They import each other, in one direction."""

EDGES: Final = frozenset({"executors", "observe", "feeds", "sinks", "servers"})

WORD: Final = Room(ours=WORDS, never=frozenset({"asyncio", "multiprocessing", "concurrent"}))

ENGINE: Final = Room(
    ours=WORDS | {"_rules", "_engine.aside", "_engine.bell", "_engine.supervise"}, never=frozenset({"multiprocessing"})
)

ROOMS: Final[dict[str, Room]] = {
    **dict.fromkeys(WORDS, WORD),
    "exiting": Room(ours=WORDS, never=frozenset({"asyncio", "concurrent"})),
    # For checkers alone, which have it: defaults of type variables, before Python has them.
    **dict.fromkeys(("model", "pipeline_engine"), replace(WORD, outside=frozenset({"typing_extensions"}))),
    # Zstandard, before Python has it.
    "compression": replace(WORD, outside=frozenset({"compression", "backports"})),
    "plan": Room(ours=WORDS | {"_rules"}, never=WORD.never),
    "_rules": Room(
        ours=WORDS,
        never=frozenset(
            {"asyncio", "multiprocessing", "concurrent", "threading", "time", "socket", "random", "logging"}
        ),
    ),
    "_worker": Room(ours=WORDS, never=frozenset({"asyncio", "concurrent"}), outside=frozenset({"cloudpickle"})),
    "_engine": Room(ours=WORDS | {"plan", "_rules"}, never=frozenset({"multiprocessing"})),
    # Inside it: the ground that all stand on, and from right to left what each room may know.
    "_engine.aside": Room(never=frozenset({"multiprocessing"})),
    "_engine.bell": Room(never=frozenset({"multiprocessing"})),
    "_engine.supervise": Room(never=frozenset({"multiprocessing"})),
    "_engine.settling": ENGINE,
    "_engine.feeding": replace(ENGINE, ours=ENGINE.ours | {"_engine.settling"}),
    "_engine.delivering": replace(ENGINE, ours=ENGINE.ours | {"_engine.settling"}),
    "_engine.journeys": replace(ENGINE, ours=ENGINE.ours | {"plan", "_engine.settling", "_engine.feeding"}),
    "_engine.lanes": replace(
        ENGINE, ours=ENGINE.ours | {"plan", "_engine.settling", "_engine.feeding", "_engine.journeys"}
    ),
    "executors": Room(ours=WORDS | {"_rules", "_worker"}, outside=frozenset({"cloudpickle"})),
    # Behind its extra; only what opens a cluster loads it.
    "executors.dask": Room(ours=WORDS | {"_rules", "_worker", "executors"}, outside=frozenset({"distributed"})),
    "observe": Room(ours=WORDS | {"_rules"}, outside=frozenset({"IPython", "opentelemetry", "rich"})),
    "observe.monitor": Room(
        ours=WORDS | {"_rules", "observe"}, outside=frozenset({"prometheus_client", "starlette", "uvicorn"})
    ),
    # One file per system, each behind its extra.
    "feeds": Room(ours=WORDS | {"servers"}, never=frozenset({"multiprocessing"}), outside=frozenset({"pyarrow"})),
    "sinks": Room(ours=WORDS | {"servers"}, never=frozenset({"multiprocessing"}), outside=frozenset({"pyarrow"})),
    "servers": Room(ours=WORDS, never=frozenset({"multiprocessing"})),
    "portal": Room(ours=WORDS, outside=frozenset({"uvloop"})),
    "frame": Room(ours=WORDS | {"plan", "_rules", "_engine", "_worker", "executors", "observe", "portal"}),
    "iterating": Room(ours=WORDS | {"frame", "portal"}),
    "script": Room(ours=WORDS | {"frame", "portal", "iterating", "_worker"}, outside=frozenset({"uvloop"})),
    # Nobody imports it but tests: it may look into every room, and the conformance suite runs what it is given.
    "testing": Room(
        ours=WORDS | {"plan", "_rules", "_worker", "executors", "_engine", "frame"},
        outside=frozenset({"cloudpickle", "distributed", "loky"}),
    ),
    # Loaded with every session of pytest, and the only one that knows it.
    "testing.plugin": Room(ours=frozenset({"frame", "testing"}), outside=frozenset({"pytest"})),
    "cli": Room(ours=WORDS | EDGES | {"plan", "frame", "script"}, outside=frozenset({"click", "rich", "uvloop"})),
    # Three classes of the engine's have their place in a user's annotations.
    "__init__": Room(ours=WORDS | {"frame", "script", "_engine.delivering", "_engine.feeding"}),
    "__main__": Room(ours=frozenset({"cli"})),
}
