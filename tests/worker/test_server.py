"""What the fork server does when it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "setsid"), reason="process groups are POSIX's")

MODULE = "pipeframe_async._worker.server"
TELL = "print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"


def told_by(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return run.stdout.strip()


def test_a_process_that_imports_it_leaves_the_group_it_was_started_in() -> None:
    assert told_by(f"import os; {TELL}") == "False False"
    assert told_by(f"import os, {MODULE}; {TELL}") == "True True"


def test_one_that_leads_a_group_already_is_left_in_peace() -> None:
    assert told_by(f"import os; os.setsid(); import {MODULE}; {TELL}") == "True True"


def test_it_brings_nothing_of_the_apps_along() -> None:
    assert told_by(f"import sys, {MODULE}; print('asyncio' in sys.modules, 'cloudpickle' in sys.modules)") == (
        "False False"
    )
