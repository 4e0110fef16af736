"""`sink_to(url)`: a sink by its scheme, or by how the name of a file ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeframe_async.sinks.csv import Csv
from pipeframe_async.sinks.lines import JsonLines, Lines
from pipeframe_async.urls import Scheme, opened

FORMATS: Final[dict[str, Callable[..., Any]]] = {
    "jsonl": JsonLines,
    "csv": Csv,
    "tsv": lambda path, **options: Csv(path, delimiter="\t", **options),
    "lines": Lines,
}


def _redis() -> Callable[..., Any]:
    from pipeframe_async.sinks.redis_stream import RedisStream

    return RedisStream


def _postgres() -> Callable[..., Any]:
    from pipeframe_async.sinks.postgres import PostgresCopy

    return PostgresCopy


def _nats() -> Callable[..., Any]:
    from pipeframe_async.sinks.jetstream import JetStream

    return JetStream


def _kafka() -> Callable[..., Any]:
    from pipeframe_async.sinks.kafka_topic import KafkaTopic

    return KafkaTopic


SCHEMES: Final[dict[str, Scheme]] = {
    "kafka": (_kafka, ("topic",)),
    "nats": (_nats, ("subject",)),
    **dict.fromkeys(("redis", "rediss"), (_redis, ("stream",))),
    **dict.fromkeys(("postgresql", "postgres"), (_postgres, ("table", "columns"))),
}


def sink_to(url: str, *, append: bool = False) -> Any:
    """Open a sink by its URL, as `pipeframe run --sink` does.

    Args:
        url: a path, written by how it ends (`.jsonl`, `.ndjson`, `.csv`, `.tsv`, anything else as lines of text;
            compressed with another `.gz`, `.bz2`, `.xz` or `.zst` behind that); `-` for JSON lines on standard output;
            `FORMAT:PATH` to say what it gets, with `jsonl`, `csv`, `tsv` or `lines`; `redis://host:6379/0?stream=prices`,
            `kafka://host:9092?topic=prices` or `postgresql://host/db?table=prices&columns=id,price&key=id`, with more
            options of `RedisStream`, `KafkaTopic` and `PostgresCopy` in the same way; or `SCHEME://…` of a sink that
            another package has registered as an entry point in the group `pipeframe_async.sinks`.
        append: to a file that is there; else it is replaced when the run has ended well.

    Returns:
        A `Sink`.

    Raises:
        ConfigError: nobody knows the scheme, or what it needs is missing.
    """
    return opened(url, "sink", FORMATS, SCHEMES, append=append)
