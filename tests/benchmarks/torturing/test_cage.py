"""The cage gives up on a script that hangs, and finds and ends what carries its tag."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.torturing.cage import TAG_NAME, Plan, cell, tagged
from benchmarks.torturing.faults import FAULTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left behind is found in /proc")


@pytest.mark.process
def test_a_script_that_hangs_is_given_up_and_ended_with_its_workers() -> None:
    became = cell("executor_by_hand", FAULTS["hang"], Plan(records=64, batch_size=8, limit=5.0))
    assert became.hung
    assert became.orphans is None
    assert became.delivered == 56  # all batches but that of the bad record: the log survives its writer
    assert became.seconds >= 5.0


def test_a_process_is_found_by_its_tag_and_by_no_other() -> None:
    environment = {**os.environ, TAG_NAME: "here"}
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], env=environment, stdin=subprocess.PIPE) as child:
        while not tagged("here"):  # between fork and exec it still has our environment
            time.sleep(0.01)
        assert tagged("here") == [child.pid]
        assert tagged("her") == []
        child.send_signal(signal.SIGKILL)
    assert tagged("here") == []
