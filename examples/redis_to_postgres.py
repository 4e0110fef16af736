"""Orders from a Redis stream, priced on all cores, into a PostgreSQL table; what fails goes to another stream.

    pip install 'pipeframe_async[redis,postgres]'
    python -m examples.redis_to_postgres redis://127.0.0.1:6379/0 postgresql://postgres@127.0.0.1/postgres
    redis-cli XADD orders '*' data '{"id": 1, "items": [{"price": 250, "quantity": 3}]}'

Start it as often as you like, on as many machines: they share the stream. Kill any of them: what it had in flight is
taken over by the others, and is in the table once all the same, for the entry's id is its key there. Ctrl-C and SIGTERM
finish what was begun and hand back the rest.
"""

import sys
from typing import Any

import psycopg

from pipeframe_async import PipelineEngine, run
from pipeframe_async.feeds import RedisStream
from pipeframe_async.sinks import PostgresCopy
from pipeframe_async.sinks import RedisStream as ToRedis

TABLE = "CREATE TABLE IF NOT EXISTS prices (entry text PRIMARY KEY, order_id bigint NOT NULL, cents bigint NOT NULL)"


def price(order: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The CPU-bound part, in a worker. What it raises is that order's failure, and no other's."""
    cents = sum(item["price"] * item["quantity"] for item in order["items"])
    return {"order_id": order["id"], "cents": cents}, True


class Prices(PipelineEngine[dict[str, Any], dict[str, Any]]):
    """From the stream to the table."""

    steps = [price]
    time_limit = 20.0  # of one order, in C too; its lease is three times as long

    def __init__(self, redis: str, postgres: str, timeout: float | None = None) -> None:
        self.feed = RedisStream(redis, "orders", "pricing", lease=60.0, max_deliveries=5)
        self.sink = PostgresCopy(postgres, "prices", ["entry", "order_id", "cents"], key="entry", delivery_key="entry")
        self.dead_letter = ToRedis(redis, "orders.dead")
        self.timeout = timeout  # None: until it is stopped


if __name__ == "__main__":
    redis, postgres, *seconds = sys.argv[1:]
    with psycopg.connect(postgres) as database:
        database.execute(TABLE)
    print(run(Prices(redis, postgres, *map(float, seconds)), handle_signals=True))
