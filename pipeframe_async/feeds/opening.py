"""`feed_from(url)`: a source by its scheme, or by how the name of a file ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pipeframe_async.feeds.csv import Csv
from pipeframe_async.feeds.lines import JsonLines, Lines
from pipeframe_async.feeds.parquet import Parquet
from pipeframe_async.urls import Scheme, opened

FORMATS: Final[dict[str, Callable[[str], Any]]] = {
    "jsonl": JsonLines,
    "csv": Csv,
    "tsv": lambda path: Csv(path, delimiter="\t"),
    "lines": Lines,
    "parquet": Parquet,
}


SCHEMES: Final[dict[str, Scheme]] = {
    **dict.fromkeys(("s3", "gs", "az", "https", "http"), Scheme("objects", "Objects")),
    "kafka": Scheme("kafka_topic", "KafkaTopic", ("topic", "group")),
    "nats": Scheme("jetstream", "JetStream", ("stream", "durable")),
    **dict.fromkeys(("redis", "rediss"), Scheme("redis_stream", "RedisStream", ("stream", "group"))),
    **dict.fromkeys(("postgresql", "postgres"), Scheme("postgres", "PostgresJobs", ("table",))),
}


def feed_from(url: str | os.PathLike[str]) -> Any:
    """Open a source by its URL, as `pipeframe run --feed` does.

    Args:
        url: a path or glob, read by how it ends (`.jsonl`, `.ndjson`, `.csv`, `.tsv`, `.parquet`, anything else as
            lines of text; but for Parquet compressed with another `.gz`, `.bz2`, `.xz` or `.zst` behind that); `-` for
            JSON lines on standard input; `FORMAT:PATH` to say what is in it, with `jsonl`, `csv`, `tsv`, `lines` or
            `parquet`; `redis://host:6379/0?stream=orders&group=billing`,
            `kafka://host:9092?topic=orders&group=billing`, `nats://host:4222?stream=ORDERS&durable=billing`,
            `postgresql://host/db?table=jobs` or `s3://bucket/in/*.jsonl.gz`, with more options of the sources in the
            same way; or `SCHEME://…` of a source that another package has registered as an entry point in the group
            `pipeframe_async.feeds`.

    Returns:
        A `Source`.

    Raises:
        ConfigError: nobody knows the scheme, or what it needs is missing.
    """
    return opened(url, "feed", FORMATS, SCHEMES)
