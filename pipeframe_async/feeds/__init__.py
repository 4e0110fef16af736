"""Sources: `feed = JsonLines("in/*.jsonl.gz")`. One file per system, behind its extra, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Csv": "csv",
    "CsvRow": "csv",
    "JetStream": "jetstream",
    "JsonLines": "lines",
    "KafkaTopic": "kafka_topic",
    "Listen": "listen",
    "Lines": "lines",
    "Objects": "objects",
    "Parquet": "parquet",
    "Push": "push",
    "PostgresJobs": "postgres",
    "PostgresQuery": "postgres",
    "RedisStream": "redis_stream",
    "TooLong": "splitting",
    "UnreadRow": "parquet",
    "feed_from": "opening",
}

__all__ = [
    "Csv",
    "CsvRow",
    "JetStream",
    "JsonLines",
    "KafkaTopic",
    "Lines",
    "Listen",
    "Objects",
    "Parquet",
    "PostgresJobs",
    "PostgresQuery",
    "Push",
    "RedisStream",
    "TooLong",
    "UnreadRow",
    "feed_from",
]

if TYPE_CHECKING:
    from pipeframe_async.feeds.csv import Csv, CsvRow
    from pipeframe_async.feeds.jetstream import JetStream
    from pipeframe_async.feeds.kafka_topic import KafkaTopic
    from pipeframe_async.feeds.lines import JsonLines, Lines
    from pipeframe_async.feeds.listen import Listen
    from pipeframe_async.feeds.objects import Objects
    from pipeframe_async.feeds.opening import feed_from
    from pipeframe_async.feeds.parquet import Parquet, UnreadRow
    from pipeframe_async.feeds.postgres import PostgresJobs, PostgresQuery
    from pipeframe_async.feeds.push import Push
    from pipeframe_async.feeds.redis_stream import RedisStream
    from pipeframe_async.feeds.splitting import TooLong


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
