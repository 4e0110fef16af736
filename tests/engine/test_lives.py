"""Jobs with many lives, at random: ended by errors, cancels and stops, in all orders; each record is done once."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeframe_async import DROP, Checkpoint, Chunk, PipeFrameError, Retry, expand
from pipeframe_async.state_file import look
from tests.engine.harness import FakeFrame, Through, settled

RECORDS = 300
SEEDS = range(int(os.environ.get("JOB_SEED", "0")), int(os.environ.get("JOB_SEED", "0")) + 40)


class Ended(Exception):
    """What ends a life."""


@dataclass
class Kept:
    """What outlives a life: a place that can be set back; of results, and of failures."""

    there: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return "Kept()"

    async def write(self, values: list[Any]) -> None:
        for value in values:
            await asyncio.sleep(0)  # a cancel may come in between
            self.there.append(value)

    async def position(self) -> int:
        await asyncio.sleep(0)
        return len(self.there)

    async def restore(self, position: int | None) -> None:
        del self.there[position or 0 :]


class Feed:
    """Numbers in chunks, which ends a life where it is told to; it can be gone back to, or not."""

    def __init__(self, random: Random, end: int) -> None:
        self._size, self._end, self._at = random.randint(1, 40), end, 0

    def __repr__(self) -> str:
        return "Feed()"

    def __iter__(self) -> Iterator[Any]:
        for first in range(self._at, RECORDS, self._size):
            if first >= self._end:
                raise Ended
            self._at = min(RECORDS, first + self._size)
            yield Chunk(range(first, self._at))


class Seeking(Feed):
    """One that can."""

    @property
    def position(self) -> int:
        return self._at

    def seek(self, position: int) -> None:
        self._at = position


@dataclass
class Scene:
    """A job, as a seed has it."""

    seed: int

    def __post_init__(self) -> None:
        random = self.random = Random(self.seed)
        self.order = random.choice(["input", "completion", lambda record: record % 7])
        self.feed = random.choice([Feed, Seeking])
        self.retry = Retry(3, backoff=0.001, jitter=False) if random.random() < 0.4 else None
        self.children = random.choice([0, 3, 30])
        self.on_the_loop = random.random() < 0.4
        self.kept, self.dead = Kept(), Kept()
        self.tried: Counter[int] = Counter()

    def checked(self, record: int) -> Any:
        if record % 23 == 5:
            raise ValueError
        if self.retry is not None and record % 17 == 3:
            self.tried[record] += 1
            if self.tried[record] % 2:
                raise OSError
        return DROP if record % 11 == 2 else (record, True)

    def spread(self, record: int) -> Iterator[tuple[int, int]]:
        for child in range(self.children if record % 9 == 0 else 1):
            yield record, child

    async def awaited(self, record: Any) -> tuple[Any, bool]:
        await asyncio.sleep(0)
        return record, True

    def pipeline(self, path: Path, end: int) -> Through:
        steps = [self.checked, expand(self.spread), *([self.awaited] if self.on_the_loop else [])]
        knobs: dict[str, Any] = {"steps": steps, "order": self.order, "retry": self.retry, "sink": self.kept}
        checkpoint = Checkpoint(path, every=self.random.choice([0.0, 0.001, 0.01]))
        return Through(self.feed(self.random, end), **knobs, dead_letter=self.dead, checkpoint=checkpoint)

    def wanted(self) -> Counter[Any]:
        live = (record for record in range(RECORDS) if record % 23 != 5 and record % 11 != 2)
        return Counter((record, child) for record in live for child in range(self.children if record % 9 == 0 else 1))

    async def live(self, path: Path) -> None:
        """One life, ended at random."""
        random, frame = self.random, FakeFrame(buffer_size=random_size(self.random))
        how = random.choice(["feed", "cancel", "stop", "sink"])
        running = asyncio.ensure_future(
            frame.run(self.pipeline(path, random.randrange(RECORDS) if how == "feed" else RECORDS))
        )
        if how in ("cancel", "stop"):
            await asyncio.sleep(random.uniform(0.0, 0.03))
            running.cancel() if how == "cancel" else frame.stop()
        with suppress(PipeFrameError, asyncio.CancelledError):
            await running
        if frame.made:
            settled(frame)


def random_size(random: Random) -> int:
    return random.choice([3, 20, 1_000])


def _done(path: Path) -> int:
    with suppress(FileNotFoundError):  # of lives that were ended before they began
        state = look(str(path))[0]
        return 0 if state is None else state.done.records
    return 0


@pytest.mark.one_loop
@pytest.mark.parametrize("seed", SEEDS)
async def test_in_the_end_each_record_was_done_once(tmp_path: Path, seed: int) -> None:
    scene, path = Scene(seed), tmp_path / "state"
    for _ in range(scene.random.randint(1, 8)):
        await scene.live(path)
    done = _done(path)
    frame = FakeFrame(buffer_size=random_size(scene.random))
    report = await frame.run(scene.pipeline(path, RECORDS))
    settled(frame)
    state = look(str(path))[0]
    assert state is not None
    assert (report.fed, report.skipped) == (RECORDS, done)
    assert (state.finished, state.done.watermark) == (True, RECORDS)
    assert Counter(scene.kept.there) == scene.wanted()
    assert sorted(failure.record for failure in scene.dead.there) == list(range(5, RECORDS, 23))
    if scene.order == "input":
        assert scene.kept.there == sorted(scene.kept.there)
