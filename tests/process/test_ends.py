"""However a program ends, it ends in time, with its books balanced, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async import PipeFrame
from tests.conftest import REAL_LOOPS
from tests.process import pipelines as p
from tests.process.host_programs.started import Program, linux, module, posix, program

pytestmark = [pytest.mark.process, posix, linux]

LOOPS = sorted(REAL_LOOPS)
STUBBORN = ["work", "hang", "c_code"]
DRAIN = 1.5
"""The `drain_timeout` of the programs."""


@contextmanager
def at_work(place: Path, front: str, loop: str, what: str, handle: str) -> Iterator[Program]:
    """The program, with its workers busy; nobody is left a second after it has ended."""
    with program(place, *module("ending"), front, loop, what, handle) as running:
        running.wait_for_file("started")
        yield running
        running.leaves_nobody(within=1.0)


# --- handled signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("front", ["script", "frame", "warm"])
def test_the_first_signal_drains(tmp_path: Path, front: str, number: int, loop: str) -> None:
    with at_work(tmp_path, front, loop, "work", "handle") as running:
        running.process.send_signal(number)
        assert running.ends(within=DRAIN + 2) == 0, running.written
        assert running.written.splitlines() == ["stopped balanced=True aborted=False restarts=0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_drains_too(tmp_path: Path, number: int) -> None:
    with at_work(tmp_path, "script", "asyncio", "work", "handle") as running:
        os.killpg(running.process.pid, number)
        assert running.ends(within=DRAIN + 2) == 0, running.written
        assert running.written.splitlines() == ["stopped balanced=True aborted=False restarts=0"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("what", ["hang", "c_code"])
def test_a_drain_gives_up_on_workers_that_do_not_end(tmp_path: Path, what: str, loop: str) -> None:
    with at_work(tmp_path, "warm", loop, what, "handle") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.ends(within=DRAIN + 2) == 0, running.written
        assert running.written.splitlines() == ["stopped balanced=True aborted=True restarts=0"]


def in_time(place: Path, ends: Callable[[Path], None]) -> None:
    """Have something end that is to do so within a second, each try in a folder of its own.

    Where others are at work too a second of the clock is less of the program's: it is the program that is asked, and
    one end in time of three is its own.
    """
    for left in reversed(range(3)):
        folder = place / str(left)
        folder.mkdir()
        try:
            ends(folder)
        except pytest.fail.Exception:
            if not left:
                raise
        else:
            return


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("what", STUBBORN)
def test_a_second_sigint_aborts_within_a_second(tmp_path: Path, what: str, loop: str) -> None:
    def ends(place: Path) -> None:
        with at_work(place, "script", loop, what, "handle") as running:
            running.process.send_signal(signal.SIGINT)
            if what == "work":  # a drain that takes no time is over before a second signal can come
                running.process.send_signal(signal.SIGINT)
                code = running.ends(within=DRAIN + 2)
                assert code in (0, 130, -signal.SIGINT), running.written
                return
            time.sleep(0.2)  # two signals at the same moment are one
            running.process.send_signal(signal.SIGINT)
            assert running.ends(within=1.0) in (130, -signal.SIGINT), running.written  # a shell says 130 for either
            assert not (place / "done").exists()

    in_time(tmp_path, ends)


@pytest.mark.parametrize("what", ["hang", "c_code"])
def test_a_second_sigint_to_the_command_exits_with_130_within_a_second(tmp_path: Path, what: str) -> None:
    name = {"hang": "Hanging", "c_code": "InC"}[what]
    target = f"tests.process.host_programs.stubborn:{name}"
    arguments = ("-m", "pipeframe_async", "run", target, "--cpu-count", "2", "--progress", "none")

    def ends(place: Path) -> None:
        with program(place, *arguments) as running:
            running.wait_for_file("started")
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            running.process.send_signal(signal.SIGINT)
            assert running.ends(within=1.0) == 130, running.written
            running.leaves_nobody(within=1.0)

    in_time(tmp_path, ends)


# --- signals that nobody handles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", STUBBORN)
@pytest.mark.parametrize("front", ["frame", "warm"])
def test_an_unhandled_sigterm_ends_the_program_and_all_workers(tmp_path: Path, front: str, what: str) -> None:
    with at_work(tmp_path, front, "asyncio", what, "default") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.ends(within=1.0) == -signal.SIGTERM


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("what", STUBBORN)
def test_sigkill_leaves_no_worker(tmp_path: Path, what: str, loop: str) -> None:
    with at_work(tmp_path, "warm", loop, what, "default") as running:
        running.process.kill()
        running.ends(within=1.0)


@pytest.mark.parametrize("what", STUBBORN)
def test_an_unhandled_sigint_cancels_and_leaves_no_worker(tmp_path: Path, what: str) -> None:
    """asyncio's own runner turns the first Ctrl-C into a cancellation."""
    with at_work(tmp_path, "warm", "asyncio", what, "default") as running:
        running.process.send_signal(signal.SIGINT)
        assert running.ends(within=DRAIN + 2) in (130, -signal.SIGINT), running.written


def handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


async def test_no_handler_is_installed_where_nobody_asked_for_it() -> None:
    seen: list[dict[int, Any]] = []

    class Looking(p.Collected):
        async def feed(self) -> AsyncIterator[int]:
            for i in range(20):
                seen.append(handlers())
                yield i
                await asyncio.sleep(0)

        async def sink(self, records: list[Any]) -> None:
            seen.append(handlers())

    before = handlers()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    async with PipeFrame(1) as frame:
        await frame.run(Looking())
        seen.append(handlers())
    await PipeFrame(1).run(Looking())
    seen.append(handlers())
    assert len(seen) > 40
    assert all(there == before for there in seen)
    now = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(now)
    assert now == wakeup


# --- the interpreter's exit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["idle", "hang", "c_code"])
@pytest.mark.parametrize("how", ["abandoned", "asyncio_run", "child_process"])
def test_an_interpreter_with_an_open_frame_exits(tmp_path: Path, how: str, what: str) -> None:
    with program(tmp_path, *module("never_closed"), how, what) as running:
        if what == "idle":
            assert running.ends(within=10.0) == 0, running.written
        else:
            running.wait_for_file("started")
            assert running.ends(within=3.0) == 0, running.written
        running.leaves_nobody(within=1.0)


def test_a_child_of_multiprocessing_with_a_stream_open_exits(tmp_path: Path) -> None:
    """It joins its own children before its threads: the run that is left must have ended by then, or starts others."""
    with program(tmp_path, *module("left_in_a_child")) as running:
        assert running.ends(within=40.0) == 0, running.written
        assert running.written.count("ended with 0") == 12, running.written
        running.leaves_nobody(within=1.0)


# --- under a server ------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("server_loop", LOOPS)
def test_under_uvicorn_sigterm_in_mid_load_loses_no_record_that_was_confirmed(tmp_path: Path, server_loop: str) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("httpx")
    port = free_port()
    server = ("-m", "uvicorn", "tests.process.host_programs.served:app", "--port", str(port), "--loop", server_loop)
    with program(tmp_path, *server, "--log-level", "warning", "--http", "h11") as running:
        confirmed, refused = asyncio.run(load_until_it_is_gone(running, port))
        # uvicorn raises the signal again when it has shut down.
        assert running.ends(within=10.0) in (0, -signal.SIGTERM), running.written
        running.leaves_nobody(within=1.0)
    kept = [int(line) for line in (tmp_path / "kept.txt").read_text().split()]
    assert len(confirmed) > 100, (len(confirmed), refused)
    assert set(confirmed) <= set(kept)
    assert len(kept) == len(set(kept))
    assert "Traceback" not in running.written, running.written


async def load_until_it_is_gone(running: Program, port: int) -> tuple[list[int], list[str]]:
    """Sixteen clients ask on and on; after 200 answers the server gets SIGTERM. What it confirmed, what it did not."""
    import httpx

    confirmed: list[int] = []
    refused: list[str] = []
    numbers = iter(range(10**9))

    async def client(web: httpx.AsyncClient) -> None:
        while True:
            number = next(numbers)
            try:
                response = await web.get(f"/{number}")
            except httpx.TransportError as error:
                if confirmed:
                    refused.append(repr(error))
                    return
                await asyncio.sleep(0.02)  # it has not begun to listen
                continue
            (confirmed.append(number) if response.is_success else refused.append(str(response.status_code)))
            if len(confirmed) == 200:
                running.process.send_signal(signal.SIGTERM)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as web:
        async with asyncio.timeout(40):
            await asyncio.gather(*(client(web) for _ in range(16)))
    return confirmed, refused
