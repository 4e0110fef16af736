"""The examples that need servers, as their docstrings say to run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pyarrow.parquet
import redis as redis_client

from pipeframe_async.sinks import DeadLetters
from tests.real.kinds import KINDS
from tests.real.servers import Server

ROOT = Path(__file__).parents[2]


def test_orders_are_priced_into_a_table_and_the_broken_ones_put_aside(redis: Server, postgres: Server) -> None:
    orders = [{"id": number, "items": [{"price": 10, "quantity": number}]} for number in range(1, 300)]
    KINDS["redis"].publish(redis.url, "orders", [*orders, {"id": 0}])
    command = [sys.executable, "-m", "examples.redis_to_postgres", redis.url, postgres.url, "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "delivered 299 · failed 1" in done.stdout
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute("SELECT order_id, cents FROM prices ORDER BY order_id").fetchall()
        connection.execute("DROP TABLE prices")
    assert rows == [(number, 10 * number) for number in range(1, 300)]
    with redis_client.Redis.from_url(redis.url) as client:
        ((_, fields),) = client.xrange("orders.dead")
        client.delete("orders", "orders.dead")
    assert json.loads(fields[b"data"])["message"] == "'items'"


def test_a_log_is_filtered(tmp_path: Path) -> None:
    line = '10.0.0.{} - - [29/Nov/2026:12:00:00 +0000] "GET /{} HTTP/1.1" {} 12'
    log = "".join(line.format(n % 250, n, 404 if n % 10 == 0 else 200) + "\n" for n in range(1_000)) + "torn lin\n"
    dead = tmp_path / "odd.dead"
    command = [sys.executable, "-m", "pipeframe_async", "run", "examples.log_filter:Missing"]
    ends = ["--feed", "lines:-", "--sink", "-", "--dead-letter", str(dead)]
    done = subprocess.run(
        [*command, *ends], cwd=ROOT, input=log, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 1, done.stderr
    found = [json.loads(row) for row in done.stdout.splitlines()]
    assert sorted(int(row["path"][1:]) for row in found) == list(range(0, 1_000, 10))
    assert [entry.record() for entry in DeadLetters(dead).entries()] == [b"torn lin"]


def test_events_are_in_files_before_their_offsets_are_committed(kafka: Server, tmp_path: Path) -> None:
    events = [{"user": f"u{number}", "amount": number * 10} for number in range(500)]
    KINDS["kafka"].publish(kafka.url, "events", [*events, {"user": "broken"}])
    command = [sys.executable, "-m", "examples.kafka_to_parquet", kafka.url, "events", str(tmp_path), "6", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("events-*.parquet")
    table = pyarrow.parquet.read_table(file)
    assert sorted(table["amount"].to_pylist()) == [10.0 * number for number in range(500)]
    assert len((tmp_path / "events.dead").read_text().splitlines()) == 1
