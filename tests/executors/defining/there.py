"""What becomes of definitions in another process, as far as definitions can tell."""

from __future__ import annotations

from typing import Any

import pytest

from pipeframe_async._worker import making, standin
from pipeframe_async._worker.standin import StandIns
from pipeframe_async.executors.defining.definer import Defined


def made(defined: Defined, place: StandIns, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as other, standin.at_work(place, keep=False):
        other.setattr(standin, "home", "another")
        return making.load(defined.data, place)
