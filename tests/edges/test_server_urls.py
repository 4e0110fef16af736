"""Sources and sinks of servers by URL: what is ours is taken off, what is left is their client's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import ConfigError
from pipeframe_async.feeds import feed_from
from pipeframe_async.sinks import sink_to


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("redis://:pw@h:1/0?stream=a&group=b&lease=5", "RedisStream('redis://:***@h:1/0', 'a', 'b')"),
        ("rediss://h/0?stream=5&group=b&max_deliveries=none", "RedisStream('rediss://h/0', '5', 'b')"),
        (
            "postgresql://u@h/db?table=jobs&sslmode=disable",
            "PostgresJobs('postgresql://u@h/db?sslmode=disable', 'jobs')",
        ),
        ("nats://h:4222?stream=ORDERS&durable=billing", "JetStream('nats://h:4222', 'ORDERS', 'billing')"),
        ("s3://b/in/?1.jsonl", "Objects('s3://b/in/?1.jsonl')"),
        ("s3://b/in/a?#.txt?format=jsonl&timeout=5", "Objects('s3://b/in/a?#.txt')"),
    ],
)
def test_feeds(url: str, made: str) -> None:
    assert repr(feed_from(url)) == made


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("redis://h/0?stream=a&maxlen=5", "RedisStream('redis://h/0', 'a')"),
        ("postgres://u@h/db?table=t&columns=a,b&key=a", "PostgresCopy('postgres://u@h/db', 't')"),
        ("postgresql://u@h/db?table=t&columns=a", "PostgresCopy('postgresql://u@h/db', 't')"),
        ("nats://h?subject=prices", "JetStream('nats://h', 'prices')"),
    ],
)
def test_sinks(url: str, made: str) -> None:
    assert repr(sink_to(url)) == made


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://u:secret@h", r"'redis://u:\*\*\*@h' does not say its stream, group: write …\?stream=…&group=…"),
        ("redis://h?stream=a&group=b&lease=x", "lease='x': must be a number above 0"),
        ("redis://h?stream=a&group=b&max_deliveries=0", "max_deliveries=0: must be a number above 0"),
        ("nats://h?stream=a.b&durable=b", "stream='a.b': must be a name without dots"),
        ("nats://h?stream=a&durable=b&start=never", "start='never': must be 'all' or 'new'"),
        (
            "nosql://u:secret@h",
            r"no feed is known for nosql://, in 'nosql://u:\*\*\*@h'; there are paths, - and .*redis://",
        ),
    ],
)
def test_what_is_wrong_is_said(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        feed_from(url)


@pytest.mark.parametrize(("role", "named"), [("feeds", feed_from), ("sinks", sink_to)])
def test_an_installed_package_brings_urls_of_its_own(
    role: str, named: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "orders_of_others-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: orders-of-others\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[pipeframe_async.{role}]\norders = builtins:list\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert named("orders://h") == list("orders://h")
    with pytest.raises(ConfigError, match=r"orders://"):
        named("nosql://h")


def test_a_path_of_a_file_is_one_however_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a b%.jsonl"
    assert {repr(feed_from(named)) for named in (path, str(path), path.as_uri())} == {f"JsonLines({str(path)!r})"}
    with pytest.raises(ConfigError, match=r"\['a'\]: a feed is named by a URL or a path, one text"):
        feed_from(["a"])  # type: ignore[arg-type]
