"""The pages about servers: what they show is run against one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psycopg
import redis as redis_client

from pipeframe_async.feeds import JetStream
from tests.readme.snippets import read_page
from tests.real.kinds import KINDS
from tests.real.servers import Server

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def shown(page: str, replaced: str, server: Server, folder: Path) -> str:
    """Run a page's block, with another URL; what it prints."""
    (block,) = [block for block in read_page((GUIDE / page).read_text("utf-8")).skipped if "tests/real" in block.rest]
    assert replaced in block.text
    script = folder / "shown.py"
    script.write_text(block.text.replace(replaced, server.url))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_redis(redis: Server, tmp_path: Path) -> None:
    orders = [{"id": 1, "n": 2}, {"id": 2, "n": 3}, {"id": 3}]
    KINDS["redis"].publish(redis.url, "orders", orders)
    assert "delivered 2 · failed 1" in shown("redis.md", "redis://127.0.0.1:6379/0", redis, tmp_path)
    with redis_client.Redis.from_url(redis.url) as client:
        prices = [json.loads(fields[b"data"]) for _, fields in client.xrange("prices")]
        assert sorted(price["price"] for price in prices) == [6, 9]
        assert client.xlen("orders.dead") == 1
        client.delete("orders", "orders.dead", "prices")


def test_postgres(postgres: Server, tmp_path: Path) -> None:
    KINDS["postgres"].publish(postgres.url, "orders", [{"n": 2}, {"n": 3}])
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE prices (job bigint PRIMARY KEY, price int)")
    url = "postgresql://postgres@127.0.0.1:5432/postgres"
    assert "delivered 2" in shown("postgres.md", url, postgres, tmp_path)
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT price FROM prices ORDER BY job").fetchall() == [(6,), (9,)]
        connection.execute("DROP TABLE prices")


def test_nats(nats: Server, tmp_path: Path) -> None:
    KINDS["nats"].publish(nats.url, "ORDERS", [{"id": 1, "n": 2}, {"id": 2, "n": 3}])
    KINDS["nats"].publish(nats.url, "prices", [])
    assert "delivered 2" in shown("nats.md", "nats://127.0.0.1:4222", nats, tmp_path)
    taken = JetStream(nats.url, "prices", "reader")

    async def read() -> list[int]:
        async with taken:
            return [json.loads(delivery.record)["price"] for delivery in await taken.take(10) or ()]

    assert sorted(asyncio.run(read())) == [6, 9]


def test_kafka(kafka: Server, tmp_path: Path) -> None:
    from tests.real.test_kafka import kept  # which there may be no client for

    orders = [{"customer": "a", "n": 2}, {"customer": "b", "n": 3}, {"customer": "c"}]
    KINDS["kafka"].publish(kafka.url, "orders", orders)
    assert "delivered 2 · failed 1" in shown("kafka.md", "kafka://127.0.0.1:9092", kafka, tmp_path)
    prices = {(key, json.loads(value)["price"]) for _, key, value in kept(kafka, "prices")}
    assert prices == {(b"a", 6), (b"b", 9)}
    assert len(kept(kafka, "orders.dead")) == 1
