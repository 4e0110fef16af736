"""Client and scheduler on one host, Dask workers on others, and the cable between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.executors.dask import namespaces
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.namespaces import Namespaces

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

ENDS = ["there", "home"]
"""Whose link goes down: the host's own, and what is sent is swallowed; or the client's, and it is told at once."""


class Program:
    """The user's program, on the client's host."""

    def __init__(self, before: list[str], address: str, **wanted: Any) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.executors.dask.distant", address, json.dumps(wanted)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def under_way(self) -> None:
        """Wait until it has delivered something."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "under way\n"

    def told(self, seconds: float) -> dict[str, Any]:
        """What came of it, which is to be known within so long."""
        said, _ = self._process.communicate(timeout=seconds)
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found

    def interrupted(self) -> float:
        """Press Ctrl-C; how long it takes to end."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            for question in (signal.SIGUSR2, signal.SIGUSR1):  # standard error has the answers
                self._process.send_signal(question)
                time.sleep(1)
            raise
        return time.monotonic() - began

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Hosts:
    """A cluster over hosts."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.spaces = Namespaces()
        stack.callback(self.spaces.close)
        self.cluster = DaskCluster(folder, nanny=False, host=namespaces.HOME, at_home=self.spaces.inside(0))
        stack.callback(self.cluster.close)
        self.cluster.start_scheduler()

    def worker(self, name: str) -> int:
        """A host with a worker of two threads."""
        self.join(name, host := self.spaces.host())
        return host

    def join(self, name: str, host: int) -> None:
        """A worker on a host that is there."""
        self.cluster.start_worker(name, 2, host=self.spaces.address(host), before=self.spaces.inside(host))

    def program(self, **wanted: Any) -> Program:
        program = Program(self.spaces.inside(0), self.cluster.address, **wanted)
        self._stack.callback(program.close)
        return program


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    namespaces.needed()
    with ExitStack() as stack:
        yield Hosts(tmp_path, stack)


def whole(told: dict[str, Any], records: int) -> None:
    """Nothing lost, nothing doubled, nobody blamed."""
    assert told["problem"] == ""
    assert told["taken"] == list(range(records))
    assert (told["fed"], told["delivered"], told["failed"]) == (records, records, 0)


@pytest.mark.cluster
def test_batches_go_from_host_to_host_and_a_bad_record_costs_itself(hosts: Hosts) -> None:
    host = hosts.worker("w0")
    hosts.cluster.joined("w0")
    told = hosts.program(records=1_000, poison=[50]).told(30)
    assert told["taken"] == [number for number in range(1_000) if number != 50]
    assert (told["problem"], told["dead"]) == ("", [50])
    assert (told["fed"], told["delivered"], told["failed"]) == (1_000, 999, 1)
    assert {link: carried > 10_000 for link, carried in hosts.spaces.carried(host).items()} == {
        "lo": False,
        "cable": True,
    }


def cut(hosts: Hosts, end: str, seconds: float, records: int, **wanted: Any) -> tuple[dict[str, Any], float]:
    """What came of a run with a cable that was cut for so long, and how long it took after that."""
    host = hosts.worker("w0")
    hosts.cluster.joined("w0")
    program = hosts.program(records=records, seconds=0.01, **wanted)
    program.under_way()
    hosts.spaces.cut(host, end)
    time.sleep(seconds)
    hosts.spaces.mend(host)
    mended = time.monotonic()
    told = program.told(60)
    return told, told["at"] - mended


@pytest.mark.cluster
@pytest.mark.parametrize("end", ENDS)
def test_a_network_that_was_cut_costs_the_time_it_was_away(hosts: Hosts, end: str) -> None:
    told, _ = cut(hosts, end, 2.0, 300)
    whole(told, 300)
    assert told["re_executed"] == 0


@pytest.mark.soak
@pytest.mark.parametrize("end", ENDS)
def test_a_network_that_was_cut_for_ten_seconds_costs_no_more(hosts: Hosts, end: str) -> None:
    told, after = cut(hosts, end, 10.0, 300)
    whole(told, 300)
    assert told["re_executed"] == 0
    assert after < 15.0  # TCP waits longer and longer before it tries again


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_network_that_dask_has_given_up_costs_re_execution(hosts: Hosts) -> None:
    """After 30 s Dask breaks its connections and ends the worker, its nanny too: whoever runs it starts another one."""
    host = hosts.worker("w0")
    hosts.cluster.joined("w0")
    program = hosts.program(records=300, seconds=0.01)
    program.under_way()
    hosts.spaces.cut(host)
    time.sleep(38.0)
    hosts.spaces.mend(host)
    hosts.join("w1", host)
    told = program.told(30)
    whole(told, 300)
    assert told["re_executed"] > 0


@pytest.mark.cluster
def test_a_network_that_stays_away_ends_the_run_with_books(hosts: Hosts) -> None:
    host = hosts.worker("w0")
    hosts.cluster.joined("w0")
    program = hosts.program(records=100_000, seconds=0.01, worker_timeout=3)
    program.under_way()
    hosts.spaces.cut(host)
    began = time.monotonic()
    told = program.told(20)
    assert told["problem"].startswith(
        "WorkerLost: there was no lane on any Dask worker for 3 s; the last problem: tcp://"
    )
    assert 3.0 <= told["at"] - began < 8.0
    assert told["taken"] == list(range(told["delivered"]))
    assert told["failed"] == 0
    assert told["fed"] == told["delivered"] + told["aborted"] > told["delivered"]


@pytest.mark.cluster
def test_what_a_host_had_that_vanishes_is_run_on_another_one(hosts: Hosts) -> None:
    host = hosts.worker("w0")
    hosts.worker("w1")
    hosts.cluster.joined("w0")
    hosts.cluster.joined("w1")
    program = hosts.program(records=600, seconds=0.01, worker_timeout=3)
    program.under_way()
    hosts.spaces.cut(host)
    told = program.told(20)
    whole(told, 600)
    assert told["re_executed"] > 0


@pytest.mark.cluster
def test_a_host_that_is_cut_off_when_a_run_begins_holds_up_nobody(hosts: Hosts) -> None:
    host = hosts.worker("w0")
    hosts.worker("w1")
    hosts.cluster.joined("w0")
    hosts.cluster.joined("w1")
    hosts.spaces.cut(host)
    told = hosts.program(records=100).told(20)
    whole(told, 100)
    assert told["seconds"] < 10.0


@pytest.mark.cluster
def test_a_cancel_does_not_wait_for_a_host_that_is_cut_off(hosts: Hosts) -> None:
    host = hosts.worker("w0")
    hosts.cluster.joined("w0")
    program = hosts.program(records=100_000, seconds=0.01)
    program.under_way()
    hosts.spaces.cut(host)
    assert program.interrupted() < 4.0
