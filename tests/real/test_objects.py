"""Objects in a store, in and out: moto's server stands for S3, and a folder for one without a network."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from pipeframe_async import ConfigError, FeedError, PipeFrame, PipelineEngine, SinkError
from pipeframe_async.errors import CheckpointMismatch
from pipeframe_async.feeds import Objects, feed_from
from pipeframe_async.sinks import Objects as ToObjects
from pipeframe_async.testing import conform_sink, conform_source
from tests.edges.test_file_places import goes_on, walked
from tests.real.servers import Server, free_port

BUCKET = "things"


def options(server: Server) -> dict[str, Any]:
    """Of the store, as somebody has them who has no environment."""
    return {
        "endpoint": server.url,
        "region": "us-east-1",
        "access_key_id": "a",
        "secret_access_key": "b",
        "client_options": {"allow_http": True},
    }


@pytest.fixture
def bucket(s3: Server) -> Iterator[S3Store]:
    """An empty one."""
    store = S3Store(BUCKET, **options(s3))
    yield store
    obstore.delete(store, [one["path"] for page in obstore.list(store) for one in page])


def passed(record: Any) -> tuple[Any, bool]:
    """As it came."""
    return record, True


async def read(feed: Any, **knobs: Any) -> list[Any]:
    """What a feed gives."""
    taken: list[Any] = []
    hooks = {"feed": feed, "steps": [passed], "sink": staticmethod(taken.extend), **knobs}
    await PipeFrame(1, executor="inline").run(type("Through", (PipelineEngine,), hooks))
    return taken


async def write(records: Any, sink: Any) -> None:
    """Run them into a sink."""
    hooks = {"feed": records, "steps": [passed], "sink": sink}
    await PipeFrame(1, executor="inline").run(type("Through", (PipelineEngine,), hooks))


def lines(*records: Any) -> bytes:
    """As JSON."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


async def test_objects_come_in_the_order_of_their_names(s3: Server, bucket: S3Store) -> None:
    obstore.put(bucket, "in/b.jsonl", lines(3, 4))
    obstore.put(bucket, "in/a.jsonl.gz", gzip.compress(lines(1, 2)))
    obstore.put(bucket, "in/a.txt", b"no")
    obstore.put(bucket, "other/c.jsonl", lines(5))
    feed = Objects(f"s3://{BUCKET}/in/*.jsonl*", format="jsonl", options=options(s3))
    assert await read(feed) == [1, 2, 3, 4]


async def test_a_prefix_is_all_below_it(s3: Server, bucket: S3Store) -> None:
    for number in range(60):  # more than a page of a listing
        obstore.put(bucket, f"in/{number:03d}.jsonl", lines(number))
    assert await read(Objects(f"s3://{BUCKET}/in/", format="jsonl", options=options(s3))) == list(range(60))


async def test_a_question_mark_is_any_character_and_part_of_a_name(s3: Server, bucket: S3Store) -> None:
    for name in ("a1", "b1", "b22", "c#1"):
        obstore.put(bucket, f"in/{name}.jsonl", lines(name))
    at = f"s3://{BUCKET}/in"
    assert await read(Objects(f"{at}/?1.jsonl", options=options(s3))) == ["a1", "b1"]
    assert await read(Objects(f"{at}/c#1.jsonl", options=options(s3))) == ["c#1"]
    await write([1], ToObjects(f"{at}/a?.jsonl", options=options(s3)))
    assert bytes(obstore.get(bucket, "in/a?.jsonl").bytes()) == b"1\n"


async def test_a_file_s_url_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "50%.jsonl"
    path.parent.mkdir()
    await write([1, 2], ToObjects(path.as_uri()))
    assert await read(Objects(path.as_uri())) == [1, 2]
    assert path.read_bytes() == b"1\n2\n"


async def test_a_large_object_is_streamed(s3: Server, bucket: S3Store) -> None:
    obstore.put(bucket, "big.jsonl", lines(*({"n": n, "pad": "x" * 1_000} for n in range(10_000))))
    found = await read(Objects(f"s3://{BUCKET}/big.jsonl", options=options(s3)))
    assert [record["n"] for record in found] == list(range(10_000))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_left_comes_from_every_place(suffix: str, s3: Server, bucket: S3Store) -> None:
    for name in ("a", "b"):
        text = b"n,text\n" + "".join(f'{n},"{name}\n{n % 89 * "x"}"\n' for n in range(20_000)).encode()
        obstore.put(bucket, f"in/{name}.csv{suffix}", gzip.compress(text) if suffix else text)
    assert goes_on(lambda: Objects(f"s3://{BUCKET}/in/", format="csv", options=options(s3))) > 6


def test_an_object_that_is_shorter_or_gone_is_refused(s3: Server, bucket: S3Store) -> None:
    obstore.put(bucket, "in.jsonl", lines(1, 2))
    feed = Objects(f"s3://{BUCKET}/in.jsonl", options=options(s3))
    [position, _] = [position for _, position in walked(feed)[1]]
    obstore.put(bucket, "in.jsonl", lines(1))
    with pytest.raises(CheckpointMismatch, match=r"in\.jsonl ends at 2, and the job has read it to 4"):
        feed.seek(position)
    obstore.delete(bucket, "in.jsonl")
    with pytest.raises(CheckpointMismatch, match=r"in\.jsonl, read by the job to 4, is gone: Objects.*there is no"):
        feed.seek(position)


@pytest.mark.parametrize(("path", "said"), [("none.jsonl", "there is no none.jsonl"), ("none/", "no such object")])
async def test_what_is_not_there_is_said(s3: Server, path: str, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        await read(Objects(f"s3://{BUCKET}/{path}", format="jsonl", options=options(s3)))


async def test_results_are_an_object_when_the_run_has_ended(s3: Server, bucket: S3Store) -> None:
    there: list[int] = []

    async def feed() -> AsyncIterator[dict[str, Any]]:
        for number in range(3_000):
            yield {"n": number, "pad": "x" * 10_000}  # several parts
        there.append(sum(len(page) for page in obstore.list(bucket)))

    await write(feed(), ToObjects(f"s3://{BUCKET}/out.jsonl.gz", options=options(s3)))
    assert there == [0]
    found = gzip.decompress(bytes(obstore.get(bucket, "out.jsonl.gz").bytes())).splitlines()
    assert [json.loads(line)["n"] for line in found] == list(range(3_000))


async def test_nothing_is_there_of_a_run_that_has_failed(s3: Server, bucket: S3Store) -> None:
    obstore.put(bucket, "out.jsonl", b"before")

    async def feed() -> AsyncIterator[dict[str, Any]]:
        for number in range(2_000):
            yield {"n": number, "pad": "x" * 10_000}
        raise OSError("broken")

    with pytest.raises(FeedError):
        await write(feed(), ToObjects(f"s3://{BUCKET}/out.jsonl", options=options(s3)))
    assert bytes(obstore.get(bucket, "out.jsonl").bytes()) == b"before"


@pytest.mark.parametrize("format", ["csv", "lines"])
async def test_other_formats_go_both_ways(s3: Server, bucket: S3Store, format: str) -> None:
    records: list[Any] = [{"a": "1", "b": "x,y"}, {"a": "2", "b": ""}] if format == "csv" else ["one", "two"]
    url = f"s3://{BUCKET}/both"
    await write(records, ToObjects(url, format=format, options=options(s3)))
    assert await read(Objects(url, format=format, options=options(s3))) == records


async def test_a_store_that_is_not_there_ends_in_time(s3: Server) -> None:
    nowhere = {
        "endpoint": f"http://127.0.0.1:{free_port()}",
        "access_key_id": "a",
        "secret_access_key": "b",
        "client_options": {"allow_http": True},
    }
    with pytest.raises(FeedError, match=re.escape(f"s3://{BUCKET}/a.jsonl")):
        await read(Objects(f"s3://{BUCKET}/a.jsonl", options=nowhere, timeout=0.5))
    with pytest.raises(SinkError, match=re.escape(f"s3://{BUCKET}/a.jsonl")):
        await write([1], ToObjects(f"s3://{BUCKET}/a.jsonl", options=nowhere, timeout=0.5))


def test_both_conform(s3: Server, tmp_path: Path) -> None:
    url = f"{tmp_path.as_uri()}/out.jsonl"
    (tmp_path / "in.jsonl").write_bytes(lines(*range(50)))
    conform_source(lambda: Objects(f"{tmp_path.as_uri()}/in.jsonl"), records=50).check()

    def emptied() -> ToObjects:
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        return ToObjects(url)

    def there() -> list[Any]:
        file = tmp_path / "out.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    conform_sink(emptied, records=[1, 2, 3, 4], read=there).check()


async def test_by_url_with_the_environment_s_credentials(
    s3: Server, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(bucket, "in/a.jsonl", lines(1, 2))
    names = {"AWS_ENDPOINT": s3.url, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
    for name, value in {**names, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setitem(os.environ, name, value)
    assert await read(feed_from(f"s3://{BUCKET}/in/a.jsonl")) == [1, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Objects("ftp://host/a"), "is no URL of an object store"),
        (lambda: Objects("s3://b/a", format="xml"), "format='xml': must be one of 'lines', 'jsonl', 'csv'"),
        (lambda: Objects("s3://b/a", options={"nonsense": 1}), "cannot be opened"),
        (lambda: ToObjects("s3://b/a", append=True), "leave out append"),
        (lambda: ToObjects("s3://b/"), "it names no object"),
        (lambda: Objects("https://host/a.jsonl?signature=x"), "with a query"),
        (lambda: Objects("s3://b/a", timeout=0), "timeout=0: must be a number above 0"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_made(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
