"""`sink_to(url)`: a sink by its scheme, or by how the name of a file ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pipeframe_async.errors import ConfigError
from pipeframe_async.sinks.csv import Csv
from pipeframe_async.sinks.lines import JsonLines, Lines
from pipeframe_async.sinks.parquet import Parquet
from pipeframe_async.urls import Scheme, opened

FORMATS: Final[dict[str, Callable[..., Any]]] = {
    "jsonl": JsonLines,
    "csv": Csv,
    "tsv": lambda path, **options: Csv(path, delimiter="\t", **options),
    "lines": Lines,
    "parquet": lambda path, **options: _parquet(path, **options),
}


SCHEMES: Final[dict[str, Scheme]] = {
    **dict.fromkeys(("s3", "gs", "az", "https", "http"), Scheme("objects", "Objects")),
    "kafka": Scheme("kafka_topic", "KafkaTopic", ("topic",)),
    "nats": Scheme("jetstream", "JetStream", ("subject",)),
    **dict.fromkeys(("redis", "rediss"), Scheme("redis_stream", "RedisStream", ("stream",))),
    **dict.fromkeys(("postgresql", "postgres"), Scheme("postgres", "PostgresCopy", ("table", "columns"))),
}


def sink_to(url: str | os.PathLike[str], *, append: bool = False) -> Any:
    """Open a sink by its URL, as `pipeframe run --sink` does.

    Args:
        url: a path, written by how it ends (`.jsonl`, `.ndjson`, `.csv`, `.tsv`, `.parquet`, anything else as lines of
            text; but for Parquet compressed with another `.gz`, `.bz2`, `.xz` or `.zst` behind that); `-` for JSON
            lines on standard output; `FORMAT:PATH` to say what it gets, with `jsonl`, `csv`, `tsv`, `lines` or
            `parquet`; `redis://host:6379/0?stream=prices`, `kafka://host:9092?topic=prices`,
            `nats://host:4222?subject=prices`, `postgresql://host/db?table=prices&columns=id,price&key=id` or
            `s3://bucket/prices.jsonl`, with more options of the sinks in the same way; or `SCHEME://…` of a sink that
            another package has registered as an entry point in the group `pipeframe_async.sinks`.
        append: to a file that is there; else it is replaced when the run has ended well.

    Returns:
        A `Sink`.

    Raises:
        ConfigError: nobody knows the scheme, or what it needs is missing, or it cannot be appended to.
    """
    return opened(url, "sink", FORMATS, SCHEMES, append=append)


def _parquet(path: str, *, append: bool) -> Parquet:
    if append:
        raise ConfigError(f"{path}: nothing can be appended to a Parquet file; write JSON lines, or a file each run")
    return Parquet(path)
