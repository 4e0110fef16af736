"""The web app of the examples, over real HTTP: results, failures, backpressure both ways, clients that leave."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

# It may be there, and not import: on a CPython that is newer than what it is made of.
pytest.importorskip("fastapi", reason="the web app is an example for it", exc_type=ImportError)

from pipeframe_async.testing import procfs
from tests.process.host_programs.started import Program, program

pytestmark = [
    pytest.mark.process,
    pytest.mark.one_loop,  # the app is on uvicorn's
    pytest.mark.skipif(sys.platform == "win32" or not procfs.AVAILABLE, reason="looks for what is left in /proc"),
]

BUFFER = 50
PATIENCE = 10.0


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Program, str]]:
    """The app under uvicorn, and where it listens. At the end it is told to end, and leaves nobody.

    The deadline of its calls is the fixture's parameter; without one there is time for all.
    """
    deadline = getattr(request, "param", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    arguments = ["-m", "uvicorn", "examples.web_app:app", "--port", str(port), "--log-level", "warning"]
    with program(tmp_path, *arguments, env={"BUFFER_SIZE": str(BUFFER), "DEADLINE": str(deadline)}) as running:
        running.wait_until(lambda: answers(port))
        yield running, f"http://127.0.0.1:{port}"
        running.process.send_signal(signal.SIGTERM)
        assert running.ends(within=10) in (0, -signal.SIGTERM), running.written
        running.leaves_nobody()
        assert "Traceback" not in running.written, running.written


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def url(served: tuple[Program, str]) -> str:
    return served[1]


@asynccontextmanager
async def a_client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=httpx.Limits(max_connections=200)) as client:
        yield client


async def until(url: str, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The app's counters, once they are so."""
    async with a_client(url) as client, asyncio.timeout(PATIENCE):
        while not condition(stats := (await client.get("/stats")).json()):
            await asyncio.sleep(0.01)
        return dict(stats)


async def test_each_request_gets_its_own_score(url: str) -> None:
    async with a_client(url) as client:
        one = (await client.post("/score", json={"text": "one"})).json()
        texts = [f"text {number}" for number in range(20)]
        answers = await asyncio.gather(*(client.post("/score", json={"text": text}) for text in texts))
        assert [answer.json()["text"] for answer in answers] == texts
        assert len({answer.json()["score"] for answer in answers} | {one["score"]}) == 21


async def test_a_record_that_fails_is_a_422_of_its_own_request(url: str) -> None:
    async with a_client(url) as client:
        good, bad = await asyncio.gather(
            client.post("/score", json={"text": "good"}), client.post("/score", json={"text": " "})
        )
    assert (good.status_code, bad.status_code) == (200, 422)
    assert bad.json() == {"detail": "step 'score' raised ValueError: there is nothing to score"}


@pytest.mark.parametrize("served", [0.5], indirect=True)
async def test_who_would_wait_for_too_long_is_told_to_come_again(url: str) -> None:
    async with a_client(url) as client:
        for number in range(3):  # until it is known what one takes
            assert (await client.post("/score", json={"text": f"first {number}"})).status_code == 200
        answers = await asyncio.gather(*(client.post("/score", json={"text": f"{number}"}) for number in range(100)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert len(refused) >= 50  # a score takes a tenth of a second
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert "Score is overloaded" in refused[0].json()["detail"]
        stats = (await client.get("/stats")).json()
        assert stats["delivered"] == 3 + len(answers) - len(refused)
        assert (await client.post("/score", json={"text": "later"})).status_code == 200


async def test_a_client_that_leaves_takes_its_call_along(url: str) -> None:
    """While the workers are busy: of what waits nothing is worked on."""
    before = await until(url, lambda stats: stats["in_flight"] == 0)
    async with a_client(url) as client:
        requests = [asyncio.ensure_future(client.post("/score", json={"text": f"{n}"})) for n in range(60)]
        await until(url, lambda stats: stats["in_flight"] >= 20)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    after = await until(url, lambda stats: stats["in_flight"] == 0)
    assert after["delivered"] - before["delivered"] < 40


class Exchange:
    """One request to `/lines`, written and read by hand, so that both may be slow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Exchange]:
        port = int(url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(b"POST /lines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()  # to close it would wait until the rest is sent

    async def send(self, text: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(text), text))
        await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]


async def test_a_result_comes_while_the_body_is_still_sent(url: str) -> None:
    async with Exchange.open(url) as lines, asyncio.timeout(PATIENCE):
        for number in range(5):
            await lines.send(b"word " * number + b"\n")
            if not number:
                assert b"200 OK" in (head := await lines.head())
                assert b"application/x-ndjson" in head
            assert json.loads(await lines.chunk())["words"] == number
        await lines.send(b"the last has no end")
        await lines.end()
        assert json.loads(await lines.chunk())["words"] == 5
        assert await lines.chunk() == b""


async def test_all_lines_come_back_in_order(url: str) -> None:
    body = b"".join(b"word " * (number % 7) + b"\n" for number in range(20_000))

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 9_999):  # lines are cut anywhere
            yield body[at : at + 9_999]

    async with a_client(url) as client, client.stream("POST", "/lines", content=parts()) as answer:
        words = [json.loads(line)["words"] async for line in answer.aiter_lines()]
    assert words == [number % 7 for number in range(20_000)]


LINE = b"a line of some words, which is not short, so that few fit into any buffer\n"
WORDS = len(LINE.split())


async def filled(lines: Exchange) -> int:
    """Send until no more is taken; returns how many lines that were."""
    sent, part = 0, LINE * 100
    try:
        while True:
            async with asyncio.timeout(1.0):
                await lines.send(part)
            sent += 100
    except TimeoutError:
        return sent


async def test_a_client_that_does_not_read_is_not_read_from(url: str) -> None:
    before = await until(url, lambda stats: stats["in_flight"] == 0)
    async with Exchange.open(url) as lines:
        sent = await filled(lines)
        stats = await until(url, lambda stats: stats["in_flight"] > 0)
        assert stats["in_flight"] <= BUFFER
        assert stats["fed"] - before["fed"] < sent + 1
        async with a_client(url) as client:
            assert (await client.get("/ping")).json() == "pong"
        await lines.head()
        for _ in range(1_000):  # and goes on where it reads again
            assert json.loads(await lines.chunk())["words"] == WORDS
    await until(url, lambda stats: stats["in_flight"] == 0)


@pytest.mark.parametrize("when", ["in its body", "after it", "without reading"])
async def test_a_client_that_leaves_ends_its_stream(url: str, when: str) -> None:
    async with Exchange.open(url) as lines:
        if when == "without reading":
            await filled(lines)
        else:
            for _ in range(3):
                await lines.send(b"a line\n")
            await lines.head()
            await lines.chunk()
        if when == "after it":
            await lines.send(b"a line\n" * 2_000)
            await lines.end()
        lines.writer.transport.abort()
    await until(url, lambda stats: stats["in_flight"] == 0)


async def test_the_app_answers_while_it_works(url: str) -> None:
    async with a_client(url) as client:
        working: list[Any] = [
            asyncio.ensure_future(client.post("/score", json={"text": f"{number}"})) for number in range(40)
        ]
        loop, late = asyncio.get_running_loop(), list[float]()
        while not all(request.done() for request in working) and len(late) < 200:
            began = loop.time()
            assert (await client.get("/ping")).json() == "pong"
            late.append(loop.time() - began)
        assert {request.result().status_code for request in working if request.done()} <= {200}
        for request in working:
            request.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    assert sorted(late)[len(late) // 2] < 0.1  # a score takes that long, and they are many
