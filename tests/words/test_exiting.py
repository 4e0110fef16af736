"""What is called when a process ends, and in which: in processes of their own, which end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from pipeframe_async import exiting

POOL = """
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from pipeframe_async.exiting import call_at_exit

say = partial(print, flush=True)
hangs = Event()
"""


def program(text: str) -> list[str]:
    """What a program has said by its end."""
    done = subprocess.run([sys.executable, "-c", POOL + text], capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_it_comes_before_threads_of_pools_are_joined() -> None:
    assert program("ThreadPoolExecutor().submit(hangs.wait)\ncall_at_exit(hangs.set)\nsay('end')") == ["end"]


def test_what_came_later_is_called_first_before_threads_and_before_children() -> None:
    text = """
first, second = partial(say, "first"), partial(say, "second")
for call in (first, second, first):
    call_at_exit(call)
"""
    assert program(text) == 2 * ["second", "first"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_has_its_own_and_not_its_parent_s() -> None:
    text = """
ours = partial(say, "ours")
call_at_exit(ours)
if child := os.fork():
    os.waitpid(child, 0)
else:
    call_at_exit(partial(say, "the child's"))
"""
    assert program(text) == 2 * ["the child's"] + 2 * ["ours"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_what_a_fork_has_said_again_is_called_there_too() -> None:
    text = """
both = lambda: say(os.getpid() == parent)
parent = os.getpid()
call_at_exit(both)
if child := os.fork():
    os.waitpid(child, 0)
else:
    call_at_exit(both)
"""
    assert program(text) == 2 * ["False"] + 2 * ["True"]


@pytest.mark.parametrize("missing", [True, False])
def test_where_there_is_no_such_moment_or_it_is_over_it_comes_with_the_finalizers(
    monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    finalizers: list[Any] = []

    def over(*_: Any) -> None:
        raise RuntimeError("can't register atexit after shutdown")

    if missing:
        monkeypatch.delattr(threading, "_register_atexit", raising=False)
    else:
        monkeypatch.setattr(threading, "_register_atexit", over, raising=False)
    monkeypatch.setattr(exiting, "_registered", {})
    monkeypatch.setattr("multiprocessing.util.Finalize", lambda obj, call, exitpriority: finalizers.append(call))
    called: list[int] = []
    exiting.call_at_exit(lambda: called.append(1))
    for finalizer in finalizers:
        finalizer()
    assert called == [1]
