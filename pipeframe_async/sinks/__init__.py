"""Sinks: `sink = JsonLines("out.jsonl")`. One file per system, each behind its extra; imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Csv": "csv",
    "DeadLetters": "dead_letters",
    "JetStream": "jetstream",
    "JsonLines": "lines",
    "KafkaTopic": "kafka_topic",
    "Lines": "lines",
    "Objects": "objects",
    "Parquet": "parquet",
    "PostgresCopy": "postgres",
    "RedisStream": "redis_stream",
    "sink_to": "opening",
}

__all__ = [
    "Csv",
    "DeadLetters",
    "JetStream",
    "JsonLines",
    "KafkaTopic",
    "Lines",
    "Objects",
    "Parquet",
    "PostgresCopy",
    "RedisStream",
    "sink_to",
]

if TYPE_CHECKING:
    from pipeframe_async.sinks.csv import Csv
    from pipeframe_async.sinks.dead_letters import DeadLetters
    from pipeframe_async.sinks.jetstream import JetStream
    from pipeframe_async.sinks.kafka_topic import KafkaTopic
    from pipeframe_async.sinks.lines import JsonLines, Lines
    from pipeframe_async.sinks.objects import Objects
    from pipeframe_async.sinks.opening import sink_to
    from pipeframe_async.sinks.parquet import Parquet
    from pipeframe_async.sinks.postgres import PostgresCopy
    from pipeframe_async.sinks.redis_stream import RedisStream


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
