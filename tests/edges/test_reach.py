"""A server that is away: tried again, said once, and given up in time where there is one."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import pytest

from pipeframe_async import ConfigError
from pipeframe_async.servers.reach import Reach, needed
from pipeframe_async.urls import shown


def reach() -> Reach:
    """Of a server that is away where a connection is refused."""
    return Reach("the server", lambda error: isinstance(error, ConnectionError), extra="redis")


class Calls:
    """Fails so many times."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = [*errors]
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self._errors:
            raise self._errors.pop(0)
        return "there"


async def test_a_call_is_tried_until_the_server_is_there(caplog: pytest.LogCaptureFixture) -> None:
    one, call = reach(), Calls(ConnectionError("no"), ConnectionError("no"))
    assert await one.reached(call) == "there"
    assert (call.made, one.returns, one.away) == (3, 1, False)
    assert [record.getMessage().partition(" (")[0] for record in caplog.records[:1]] == ["the server is away"]
    assert caplog.records[1].getMessage().startswith("the server is back after ")
    assert len(caplog.records) == 2


async def test_many_calls_say_it_once(caplog: pytest.LogCaptureFixture) -> None:
    one = reach()
    await asyncio.gather(*(one.reached(Calls(ConnectionError("no"))) for _ in range(10)))
    assert (len(caplog.records), one.returns) == (2, 1)


async def test_what_does_not_mean_that_it_is_away_is_raised_at_once() -> None:
    call = Calls(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await reach().reached(call)
    assert call.made == 1


async def test_it_is_given_up_in_time_with_the_last_error() -> None:
    call = Calls(*[ConnectionError("no")] * 1_000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ConnectionError, match="no"):
        await reach().reached(call, timeout=0.3)
    assert asyncio.get_running_loop().time() - began < 2.0
    assert call.made > 1


async def test_a_try_that_gets_no_answer_is_given_up_in_time_too() -> None:
    with pytest.raises(TimeoutError, match=r"the server has not answered within 0\.05 s"):
        await reach().reached(asyncio.Event().wait, timeout=0.05)


async def test_a_cancel_ends_the_try() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    trying = asyncio.ensure_future(reach().reached(never))
    await asyncio.sleep(0.01)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying


async def test_a_cancel_that_the_client_swallows_ends_it_all_the_same() -> None:
    async def deaf() -> str:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
        return "there"

    trying = asyncio.ensure_future(reach().reached(deaf))
    await asyncio.sleep(0.01)
    trying.cancel()
    async with asyncio.timeout(3):
        with pytest.raises(asyncio.CancelledError):
            await trying


def test_a_library_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(ConfigError, match=r"pip install 'pipeframe_async\[redis\]'"):
        reach()


def test_an_import_that_fails_inside_a_library_is_not_taken_for_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "broken_client.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        needed("broken_client", "redis")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:secret@host/0", "redis://user:***@host/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://user:p@ss@host/0", "redis://user:***@host/0"),
        ("redis://host?password=secret&db=1", "redis://host?password=***&db=1"),
        ("redis://[::1", "redis://[::1"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("nats://secret@host:4222", "nats://***@host:4222"),
        ("nats://user:secret@host", "nats://user:***@host"),
        ("nats://a:secret@one,nats://b:secret@two", "nats://a:***@one,nats://b:***@two"),
        ("postgresql://user@host/db?sslpassword=secret", "postgresql://user@host/db?sslpassword=***"),
        ("host=h password=secret user=u", "host=h password=*** user=u"),
        (r"host=h password = 'se\'cr et' user=u", "host=h password = *** user=u"),
        ("http://host/a:b@c", "http://host/a:b@c"),
        ("-", "-"),
    ],
)
def test_a_password_is_not_shown(url: str, said: str) -> None:
    assert shown(url) == said
