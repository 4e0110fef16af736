"""librdkafka's mock cluster, in a program of its own: `python -m tests.real.kafka_mock FOLDER`.

It is no Kafka: what it does not do, and what differs, is said where tests meet it. It keeps nothing: with its process
go its topics, groups and offsets. Its addresses are the first line it prints; `FOLDER` is there to be found by.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

import confluent_kafka

REBALANCE_DELAY = 10
"""Milliseconds that a new group waits for more members; a real broker's 3 s are what a suite of tests has not."""


def library() -> ctypes.CDLL:
    """The one that came with the package, which has no call for this in Python."""
    package = Path(confluent_kafka.__file__).parent
    (found,) = package.parent.glob("confluent_kafka.libs/librdkafka-*")
    return ctypes.CDLL(str(found))


def cluster(brokers: int = 1) -> str:
    """Start it; its addresses."""
    kafka = library()

    def called(name: str, *arguments: Any) -> Any:
        function = getattr(kafka, name)
        function.restype = ctypes.c_void_p
        return function(*arguments)

    said = ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(called("rd_kafka_conf_new"))
    called("rd_kafka_conf_set", configuration, b"log_level", b"0", said, ctypes.c_size_t(512))
    client = ctypes.c_void_p(called("rd_kafka_new", 0, configuration, said, ctypes.c_size_t(512)))
    made = ctypes.c_void_p(called("rd_kafka_mock_cluster_new", client, brokers))
    called("rd_kafka_mock_group_initial_rebalance_delay_ms", made, REBALANCE_DELAY)
    return ctypes.string_at(called("rd_kafka_mock_cluster_bootstraps", made)).decode()


if __name__ == "__main__":
    print(cluster(), flush=True)
    threading.Event().wait()
