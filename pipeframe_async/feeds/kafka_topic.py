"""`KafkaTopic`: the records of a Kafka topic, as a consumer of a group."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipeframe_async.errors import ConfigError
from pipeframe_async.feeds.kafka_group import Group
from pipeframe_async.feeds.live import Live
from pipeframe_async.servers.kafka import EXTRA, QUIET, named, reach, settings
from pipeframe_async.servers.reach import needed, positive

NEVER = 2**31 - 1
"""Milliseconds: a run with backpressure may fetch nothing for hours, and is alive."""
REBALANCING = 60_000
"""Milliseconds in which all of a group must have joined again. More hold up the group for one that hangs, fewer throw
out one that still waits for what is in flight."""


class KafkaTopic(Live[int]):
    """The records of a Kafka topic, for a group of consumers: `feed = KafkaTopic(url, "orders", "billing")`.

    Each record is delivered at least once. Per partition the offset is committed up to which *all* is final: the sink
    has taken what it came to, or `dead_letter` its failure. Acks come in any order; who begins anew begins with the
    first record that was not final, and is given those behind it again, done or not.

    A record that failed, and that no `dead_letter` has, is never passed by a commit. It is delivered again after 1, 2,
    4 … seconds, from memory, while others go on; Kafka counts no deliveries, so they are counted here: a consumer that
    begins anew begins to count anew. Poison that no `dead_letter` takes holds the commits of its partition for good.

    In a rebalance, what has not begun is dropped, what has gets up to 5 s (a third of `session`, where that is less),
    what is final is committed, and then the partitions are given up: what comes of their records later is told to
    nobody. A stop commits and leaves the group at once.

    The record is the message's value, decoded in the workers. Its `Delivery.key` is `"topic-partition-offset"`, which
    no other message has and which is the same each time it is delivered: good for idempotent sinks. (A message's own
    key need be neither.) Without a value, a deletion in a compacted topic, the record is None, and nothing is decoded.

    Args:
        url: `kafka://host:9092`, or several; `kafka://user:password@host` for SASL PLAIN.
        topic: its name. Where it is not there, the brokers make it if they are set so.
        group: the consumers that share its partitions.
        decode: a value to the record, in the workers; None leaves bytes.
        keyed: the record is a pair: the message's key (bytes or None), and its value, decoded.
        start: where a group begins that has committed nothing: `"earliest"` with what is there, `"latest"` with what
            comes.
        session: seconds after which others take over what a dead consumer had. Brokers take 6 to 300, where nobody has
            told them otherwise. A living one that works for longer loses nothing.
        max_deliveries: of one record; then it is a failure of kind `"poison"`, for `dead_letter`. None: any number.
        timeout: seconds that the first connection may take. Later ones may take any time.
        options: of `aiokafka.AIOKafkaConsumer`, for TLS and SASL above all.

    Raises:
        ConfigError: a value is wrong, or the extra `kafka` is not installed.

    Process: the parent, on the event loop; `decode` runs in the workers.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        topic: str,
        group: str,
        *,
        decode: Callable[[bytes], Any] | None = json.loads,
        keyed: bool = False,
        start: str = "earliest",
        session: float = 45.0,
        max_deliveries: int | None = 5,
        timeout: float = 10.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        name = f"KafkaTopic({named(url)}, {topic!r}, {group!r})"
        for option, value in (("topic", topic), ("group", group)):
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{name}: {option}={value!r}: must be a name")
        if start not in ("earliest", "latest"):
            raise ConfigError(f"{name}: start={start!r}: must be 'earliest' or 'latest'")
        positive(name, "session", session)
        queue = Group(topic, keyed, session, _consumer(url, group, start, session, options or {}))
        super().__init__(queue, reach(name), name=name, lease=None, max_deliveries=max_deliveries, timeout=timeout)
        queue.withdraw = self._withdraw
        self._decode = decode
        self._keyed = keyed

    @property
    def decode(self) -> Callable[[Any], Any] | None:
        """What is in a message to the record."""
        return None if self._decode is None else partial(_decoded, decode=self._decode, keyed=self._keyed)


def _decoded(raw: Any, *, decode: Callable[[bytes], Any], keyed: bool) -> Any:
    if keyed:
        key, value = raw
        return key, None if value is None else decode(value)
    return None if raw is None else decode(raw)


def _consumer(url: str | Sequence[str], group: str, start: str, session: float, options: Mapping[str, Any]) -> Any:
    """What makes one; raises here what is wrong with its options."""
    given = {
        "isolation_level": "read_committed",
        "rebalance_timeout_ms": REBALANCING,
        "request_timeout_ms": REBALANCING + int(QUIET * 1000),  # joining a group is a request, too
        **settings("AIOKafkaConsumer", url, options),
        "group_id": group,
        "auto_offset_reset": start,
        "enable_auto_commit": False,
        "session_timeout_ms": int(session * 1000),
        "heartbeat_interval_ms": int(min(3.0, session / 5) * 1000),
        "max_poll_interval_ms": NEVER,
    }
    return partial(needed("aiokafka", EXTRA).AIOKafkaConsumer, **given)
