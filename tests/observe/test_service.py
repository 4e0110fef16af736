"""The service manager: what it is told over a real socket, where it asks, and nothing where it does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeframe_async.observe.service import LEAST, Service
from pipeframe_async.stats import Health

WELL = Health(live=True, ready=True)


class Manager:
    """The manager's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().splitlines()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    yield manager
    manager.socket.close()


def service(address: str, **more: str) -> Service:
    return Service({"NOTIFY_SOCKET": address.replace("\0", "@"), **more})


def test_where_nobody_asks_nobody_is_told() -> None:
    assert not Service({}).asks
    assert Service({}).interval is None


def test_it_is_told_once_that_we_are_ready_and_always_what_a_person_reads(manager: Manager, address: str) -> None:
    told = service(address)
    assert told.asks
    told.tell(Health(live=True, ready=False, reason="no worker is up: starting"), "0 records")
    assert manager.heard() == ["STATUS=no worker is up: starting"]
    told.tell(WELL, "5 records")
    assert manager.heard() == ["STATUS=5 records", "READY=1"]
    told.tell(WELL, "6 records")
    assert manager.heard() == ["STATUS=6 records"]
    told.stopping()
    assert manager.heard() == ["STOPPING=1", "STATUS=draining"]


def test_its_watchdog_is_fed_twice_an_interval_as_long_as_we_are_live(manager: Manager, address: str) -> None:
    told = service(address, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    assert told.interval == 1.5
    told.tell(WELL, "")
    assert "WATCHDOG=1" in manager.heard()
    told.tell(Health(live=False, ready=False, reason="stands still"), "")
    assert "WATCHDOG=1" not in manager.heard()


@pytest.mark.parametrize("more", [{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {}])
def test_a_watchdog_of_another_process_or_none_is_not_fed(manager: Manager, address: str, more: dict[str, str]) -> None:
    told = service(address, **more)
    assert told.interval is None
    told.tell(WELL, "")
    assert manager.heard() == ["STATUS=", "READY=1"]


def test_a_manager_that_has_gone_harms_nobody(tmp_path: Path) -> None:
    service(str(tmp_path / "gone")).tell(WELL, "")


def test_what_a_person_reads_is_one_line_that_fits_whatever_a_pipeline_is_called(
    manager: Manager, address: str
) -> None:
    service(address).tell(WELL, "Orders\nSTOPPING=1 \ud800" + 100_000 * "x")
    status, ready = manager.heard()
    assert status.startswith("STATUS=Orders STOPPING=1 \\ud800xxx")
    assert (len(status) < 1_100, ready) == (True, "READY=1")


def test_a_manager_that_comes_later_is_told_that_we_are_ready(tmp_path: Path) -> None:
    told = service(str(tmp_path / "late"))
    told.tell(WELL, "")
    manager = Manager(str(tmp_path / "late"))
    told.tell(WELL, "")
    assert "READY=1" in manager.heard()
    manager.socket.close()


@pytest.mark.parametrize(("said", "interval"), [("1", LEAST), ("²", None), ("9" * 5_000, None), ("-3", None)])
def test_a_watchdog_that_wants_the_impossible_does_no_harm(said: str, interval: float | None) -> None:
    assert service("/nowhere", WATCHDOG_USEC=said).interval == interval


def test_an_address_that_can_be_none_harms_nobody() -> None:
    service("a\0b").stopping()
    service("x" * 500).tell(WELL, "")
