"""The queues that are tried, each as a few functions that need no event loop; and their sources."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A queue of one name on a server.

    Attributes:
        publish: puts records into it.
        unanswered: how many the server still has for its consumers, given out or not.
        source: a feed of it; called in other processes too.
    """

    publish: Callable[[str, str, Iterable[Any]], None]
    unanswered: Callable[[str, str], int]
    source: Callable[..., Any]


GROUP = "workers"


def _redis_publish(url: str, name: str, records: Iterable[Any]) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        pipe = client.pipeline(transaction=False)
        for record in records:
            pipe.xadd(name, {"data": json.dumps(record)})
        pipe.execute()


def _redis_unanswered(url: str, name: str) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        group = client.xinfo_groups(name)[0]
        return int(group["pending"]) + int(group["lag"])


def _redis_source(url: str, name: str, **options: Any) -> Any:
    from pipeframe_async.feeds import RedisStream

    return RedisStream(url, name, GROUP, **options)


KINDS: Mapping[str, Kind] = {"redis": Kind(_redis_publish, _redis_unanswered, _redis_source)}
