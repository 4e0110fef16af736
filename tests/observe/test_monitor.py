"""The monitor over real HTTP: what it shows, to whom, and while the loop is blocked or a run is over."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeframe_async import ConfigError, PipeFrame, PipelineEngine
from pipeframe_async.observe.monitor.address import Address, address_of, listening

pytestmark = pytest.mark.process
SECRET = "4929-0000"


def step(record: str) -> tuple[str, bool]:
    if record.endswith("7"):
        raise ValueError(f"no card {record}")
    return record, True


class Cards(PipelineEngine[str, str]):
    source = "stream"
    timeout = None
    max_failures = None
    steps = (step,)

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.came = asyncio.Event()

    async def feed(self) -> Any:
        for number in range(100):
            yield f"{SECRET}-{number}"
        await self.may_end.wait()

    async def sink(self, records: list[str]) -> None:
        self.came.set()


class Shown:
    """A frame with a monitor, its run, and a client of it."""

    def __init__(self, **options: Any) -> None:
        self.frame = PipeFrame(1, **{"monitor": "127.0.0.1:0", "name": "shop", **options})
        self.token = options.get("monitor_token", "none")
        self.pipeline = Cards()

    async def __aenter__(self) -> Shown:
        headers = {"authorization": f"Bearer {self.token}"}
        self.running = asyncio.create_task(self.frame.run(self.pipeline))
        await self.pipeline.came.wait()
        self.url = str(self.frame.monitor_url)
        while self.frame.monitor_url and (await self.get("stats.json", headers=headers)).json()["runs"] == []:
            await asyncio.sleep(0.05)  # the first look was before the run had begun
        while not self.frame.health().ready:
            await asyncio.sleep(0.05)  # or its workers
        return self

    async def __aexit__(self, *error: object) -> None:
        self.pipeline.may_end.set()
        await self.running

    async def get(self, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self.url + path, **options)


async def test_the_page_the_numbers_the_metrics_and_the_probes_are_there_while_a_run_is() -> None:
    async with Shown() as shown:
        page = await shown.get("")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        text = page.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        told = (await shown.get("stats.json")).json()
        assert (told["frame"], told["runs"][0]["pipeline"], told["runs"][0]["state"]) == ("shop", "Cards", "feeding")
        assert "pipeframe_records_total" in (await shown.get("metrics")).text
        assert (await shown.get("livez")).text == "ok\n"
        assert (await shown.get("readyz")).status_code == 200
        assert (await shown.get("nothing")).status_code == 404
    assert shown.frame.monitor_url is None
    with pytest.raises(httpx.ConnectError):
        await shown.get("")


async def test_nothing_of_a_record_is_on_any_of_it() -> None:
    async with Shown() as shown:
        while not (await shown.get("stats.json")).json()["runs"][0]["counts"]["failed"]:
            await asyncio.sleep(0.05)
        for path in ("", "stats.json", "failures.json", "metrics", "livez", "readyz"):
            text = (await shown.get(path)).text
            assert SECRET not in text, path
        (group,) = (await shown.get("failures.json")).json()[0]["failures"]
        assert "in step" in group["traceback"]
        assert "traceback" not in (await shown.get("stats.json")).json()["runs"][0]["failures"][0]


async def test_events_come_at_most_twice_a_second_and_the_last_says_how_it_ended() -> None:
    heard: list[tuple[float, str, dict[str, Any]]] = []

    def listen(url: str, ready: threading.Event) -> None:
        kind = ""
        with httpx.stream("GET", f"{url}events", timeout=20) as response:
            for line in response.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    heard.append((time.monotonic(), kind, json.loads(line.removeprefix("data: "))))
                    ready.set()

    ready = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        async with Shown() as shown:
            listening = asyncio.get_running_loop().run_in_executor(thread, listen, shown.url, ready)
            await asyncio.to_thread(ready.wait, 10)
            await asyncio.sleep(1.2)
        await listening
    times, kinds, told = zip(*heard, strict=True)
    assert all(later - earlier > 0.4 for earlier, later in pairwise(times[:-1]))
    assert set(kinds[:-1]) == {""}
    assert (kinds[-1], told[-1]["runs"][0]["state"], told[-1]["runs"][0]["done"]) == ("ended", "closed", 100)


async def test_a_blocked_loop_is_answered_for_and_reported() -> None:
    async with Shown(stall_after=0.6) as shown:
        answers: list[tuple[str, int, str]] = []

        def probe() -> None:
            time.sleep(1.2)
            for path in ("livez", "readyz", "stats.json"):
                answer = httpx.get(shown.url + path, timeout=5)
                answers.append((path, answer.status_code, answer.text))

        probing = threading.Thread(target=probe)
        probing.start()
        time.sleep(2.5)  # noqa: ASYNC251 - blocks the loop
        probing.join()
        assert [answer[:2] for answer in answers] == [("livez", 503), ("readyz", 503), ("stats.json", 200)]
        assert "the event loop has been blocked for 1 s" in answers[0][2]
        await asyncio.sleep(0.3)
        assert (await shown.get("livez")).status_code == 200


async def test_a_token_is_asked_for_by_all_but_the_probes() -> None:
    async with Shown(monitor_token="geheim") as shown:
        for path in ("", "stats.json", "failures.json", "metrics", "events"):
            assert (await shown.get(path)).status_code == 401, path
            assert (await shown.get(path, headers={"authorization": "Bearer falsch"})).status_code == 401, path
        assert (await shown.get("stats.json?token=geheim")).status_code == 200
        assert (await shown.get("stats.json", headers={"authorization": "Bearer geheim"})).status_code == 200
        assert (await shown.get("stats.json?token=gehe%C3%ADm")).status_code == 401
        assert (await shown.get("livez")).status_code == 200


async def test_a_name_of_somebody_else_s_that_leads_here_is_refused() -> None:
    async with Shown() as shown:
        assert (await shown.get("stats.json", headers={"host": "evil.example:8787"})).status_code == 403
        assert (await shown.get("stats.json", headers={"host": "localhost:8787"})).status_code == 200
        assert (await shown.get("stats.json", headers={"host": "[::1]:8787"})).status_code == 200


async def test_where_anybody_may_look_it_is_found_by_any_name() -> None:
    async with Shown(monitor="0.0.0.0:0", monitor_token=False) as shown:
        assert (await shown.get("stats.json", headers={"host": "orders.shop.svc:8787"})).status_code == 200


async def test_several_runs_and_calls_are_shown_and_those_that_have_ended_stay() -> None:
    async with PipeFrame(1, monitor="127.0.0.1:0") as frame:
        await frame.run(Other)
        await frame.call(Other, "1")
        url = str(frame.monitor_url)
        async with httpx.AsyncClient() as client:
            while True:
                runs = (await client.get(f"{url}stats.json")).json()["runs"]
                if len(runs) == 2:
                    break
                await asyncio.sleep(0.1)
        assert [(run["kind"], run["state"]) for run in runs] == [("calls", "feeding"), ("run", "closed")]


class Other(PipelineEngine[str, str]):
    steps = (step,)

    async def feed(self) -> Any:
        yield "1"


async def test_an_address_that_is_taken_is_said_before_anything_starts() -> None:
    async with Shown() as shown:
        port = httpx.URL(shown.url).port
        with pytest.raises(ConfigError, match=f"monitor=127.0.0.1:{port} cannot be listened at"):
            await PipeFrame(1, monitor=f"127.0.0.1:{port}").run(Other)


@pytest.mark.parametrize(
    ("monitor", "token", "said"),
    [
        ("127.0.0.1", None, 'must be "host:port"'),
        ("127.0.0.1:http", None, 'must be "host:port"'),
        ("127.0.0.1:70000", None, 'must be "host:port"'),
        (8787, None, 'must be "host:port"'),
        ("0.0.0.0:8787", None, "can be reached from other machines: set monitor_token="),
        ("monitor.internal:8787", None, "can be reached from other machines"),
        ("[::]:8787", None, "can be reached from other machines"),
        ("0.0.0.0:8787", "", "must be a string that is not empty, or False"),
        ("0.0.0.0:8787", True, "must be a string that is not empty, or False"),
        ("0.0.0.0:8787", "read from a file\n", "without ends of lines"),
        ("0.0.0.0:8787", "\ud800", "without ends of lines"),
        ("127.0.0.1:²", None, 'must be "host:port"'),
    ],
)
def test_an_address_that_will_not_do_is_refused(monitor: Any, token: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        address_of(monitor, token)


@pytest.mark.parametrize("host", ["a\0b", "é..b", "x" * 70])
def test_a_host_that_can_be_none_is_refused_as_one_that_is_not_there(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot be listened at"):
        listening(Address(host, 0))


@pytest.mark.parametrize(
    ("monitor", "token", "address"),
    [
        (True, None, ("127.0.0.1", 8787, None)),
        ("localhost:0", None, ("localhost", 0, None)),
        ("[::1]:80", None, ("::1", 80, None)),
        ("0.0.0.0:8787", "geheim", ("0.0.0.0", 8787, "geheim")),
        ("0.0.0.0:8787", False, ("0.0.0.0", 8787, False)),
        ("127.0.0.1:8787", False, ("127.0.0.1", 8787, None)),
    ],
)
def test_an_address_that_will_do_is_taken(monitor: Any, token: Any, address: tuple[str, int, Any]) -> None:
    assert address_of(monitor, token) == address
    assert address_of(False, token) is None


async def test_the_report_is_the_page_as_it_was_at_the_end(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    frame = PipeFrame(1, report=report, name="</script><b>")
    await frame.run(Other)
    text = report.read_text()
    assert '"state": "closed"' in text
    assert '"pipeline": "Other"' in text
    assert "</script><b>" not in text
    assert os.listdir(tmp_path) == ["report.html"]


async def test_a_report_or_health_file_in_no_folder_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for knob in ("report", "health_file"):
        with pytest.raises(ConfigError, match=f"{knob}=.*is no folder"):
            PipeFrame(1, **{knob: tmp_path / "none" / "file"})  # type: ignore[arg-type]


async def test_the_health_file_is_there_while_it_runs_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "health"
    async with Shown(monitor=False, health_file=path):
        while not path.exists():
            await asyncio.sleep(0.05)
        assert json.loads(path.read_text())["live"] is True
    assert not path.exists()


async def test_a_frame_without_any_of_it_tells_its_health_too() -> None:
    frame = PipeFrame(1)
    assert (frame.health().live, frame.health().ready) == (True, False)
    async with frame:
        assert (frame.health().live, frame.health().ready) == (True, True)


async def test_the_loggers_of_a_server_of_the_app_s_own_are_left_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    names = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")

    def set_up() -> list[Any]:
        loggers = [logging.getLogger(name) for name in names]
        return [(its.level, [*its.handlers], its.propagate, [*its.filters]) for its in loggers]

    handler = logging.NullHandler()
    logging.getLogger("uvicorn.access").addHandler(handler)
    before = set_up()
    try:
        with caplog.at_level(logging.INFO):
            async with PipeFrame(1, executor="inline", monitor="127.0.0.1:0") as frame:
                async with httpx.AsyncClient() as client:
                    assert (await client.get(f"{frame.monitor_url}stats.json")).status_code == 200
                assert [what[:3] for what in set_up()] == [what[:3] for what in before]
                logging.getLogger("uvicorn.error").info("of the app's own server")
        assert set_up() == before
    finally:
        logging.getLogger("uvicorn.access").removeHandler(handler)
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == [
        "of the app's own server"
    ]


async def test_the_loop_has_its_turns_while_the_monitor_of_an_open_page_ends() -> None:
    frame = await PipeFrame(1, executor="inline", monitor="127.0.0.1:0").__aenter__()
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{frame.monitor_url}events", timeout=20) as page,
    ):
        told = page.aiter_lines()
        await anext(told)
        leaving, turns = asyncio.create_task(frame.__aexit__(None, None, None)), 0
        while not leaving.done():
            await asyncio.sleep(0.001)
            turns += 1
        lines = [line async for line in told]
    assert turns > 5
    assert "event: ended" in lines


async def test_runs_one_after_the_other_have_the_same_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    frame = PipeFrame(1, executor="inline", monitor=f"127.0.0.1:{port}")
    for _ in range(3):
        ending = asyncio.create_task(frame.run(Other))
        while not frame.monitor_url:
            await asyncio.sleep(0)
        while frame.monitor_url:
            await asyncio.sleep(0)
        assert (await frame.run(Other)).delivered == 1  # while the one before still lets go of it
        await ending


async def test_a_frame_that_was_never_closed_leaves_its_port_when_its_loop_is() -> None:
    async def left() -> str:
        frame = await PipeFrame(1, executor="inline", monitor="127.0.0.1:0").__aenter__()
        return str(frame.monitor_url)

    url = await asyncio.to_thread(lambda: asyncio.run(left()))
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            while True:
                with suppress(httpx.ReadError, httpx.RemoteProtocolError, httpx.TimeoutException):  # as it ends
                    await client.get(f"{url}livez")


@pytest.mark.parametrize("path", ["stats.json", "metrics", "failures.json", "events"])
async def test_names_that_utf_8_cannot_write_are_shown_all_the_same(path: str) -> None:
    def odd(record: str) -> tuple[str, bool]:
        raise ValueError

    odd.__name__ = odd.__qualname__ = "odd \ud800"
    named = type("Odd", (Cards,), {"steps": (odd,)})()
    frame = PipeFrame(1, executor="inline", monitor="127.0.0.1:0", name="sh\ud800p")
    async with frame, httpx.AsyncClient() as client:
        running = asyncio.create_task(frame.run(named))
        while not any(run.failures for run in frame.stats().runs):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)  # so the monitor has looked
        async with client.stream("GET", f"{frame.monitor_url}{path}") as answer:
            assert answer.status_code == 200
            async for part in answer.aiter_text():
                if "ud800" in part:
                    break
            else:
                pytest.fail("it is not there")
        named.may_end.set()
        await running


async def test_a_report_that_cannot_be_written_leaves_nothing_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = PipeFrame(1, executor="inline", report=tmp_path / "report.html")
    (tmp_path / "report.html").mkdir()
    await frame.run(Other)
    assert "the report could not be written" in caplog.text
    assert os.listdir(tmp_path) == ["report.html"]
