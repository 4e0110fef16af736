"""Random pipelines through pipeframe_async, against a plain reference model. Black box: only the public API is used.

    python -m tests.differential --seeds 500                       # seeds 0..499, all executors in turn
    python -m tests.differential --seeds 1000:1200 --executor processes
    python -m tests.differential --seconds 600 --start 5000        # for ten minutes
    python -m tests.differential --seed 1234 --show                # one scene, in words, and what came of it
    python -m tests.differential --seed 1234 --minimise            # the smallest scene that still goes wrong

Executors: processes (real workers, some scenes with SIGKILLs), threads, inline, auto, fake (the library's own
FakeExecutor on its virtual clock with tasks in random order: about twenty scenes a second).

Exit code 0: no mismatch. 1: at least one. Each mismatch is one block: seed, what went wrong, the scene.
Nothing is left out: each mismatch is ours to mend.

Python >= 3.11, Linux. `pip install pipeframe_async`; nothing else (psutil is not needed).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from pipeframe_async import (
    DROP,
    Chunk,
    Delivery,
    FeedError,
    PipeFrame,
    PipelineEngine,
    PipelineFailed,
    Retry,
    SinkError,
    StepError,
    apply,
    expand,
    keep_if,
    vectorize,
)

logging.disable(logging.CRITICAL)
HANG = 30.0  # seconds of the loop after which a scene counts as hung

# ------------------------------------------------------------------ what a step does with a value: shared by both sides


class Custom(Exception):
    pass


class Base(BaseException):
    pass


ERRORS = {
    "ValueError": ValueError,
    "OSError": OSError,
    "KeyError": KeyError,
    "StopIteration": StopIteration,
    "SystemExit": SystemExit,
    "CancelledError": asyncio.CancelledError,
    "TimeoutError": TimeoutError,
    "Custom": Custom,
    "Base": Base,
}
SAFE_IN_GENERATORS = ("ValueError", "OSError", "KeyError", "SystemExit", "CancelledError", "Custom", "Base")
ACTIONS = (
    "go",
    "bypass",
    "drop",
    "fan",
    "fanraise",
    "raise",
    "shape",
    "unpick",
    "unread",
    "flaky",
    "crash",
    "hang",
    "slow",
)


@dataclass(frozen=True)
class Spec:
    """One step: where it runs, its form, what it may do (action -> weight), whether it changes its record in place."""

    at: int
    on_loop: bool
    form: str  # plain, apply, keep, expand, gen, many
    weights: tuple[tuple[str, int], ...]
    mutates: bool
    salt: int
    marks: str  # a folder for the counts of attempts
    home: int = 0  # pid of the program
    size: int = 0  # of many

    @property
    def name(self) -> str:
        return f"s{self.at}"


def pure(value: Any) -> tuple[int, tuple[int, ...]]:
    return value["i"], tuple(value["t"])


def drawn(spec: Spec, value: tuple[int, tuple[int, ...]]) -> tuple[str, int]:
    """The action of this step on this value, and a number to go with it."""
    h = zlib.crc32(repr((spec.salt, spec.at, value)).encode())
    total = sum(weight for _, weight in spec.weights)
    pick, number = h % total, h // total
    for action, weight in spec.weights:
        if pick < weight:
            return action, number
        pick -= weight
    raise AssertionError


def children(number: int, value: tuple[int, tuple[int, ...]], at: int, *, flags: bool) -> list[tuple[tuple, bool]]:
    i, t = value
    return [((i, (*t, 100 * at + n)), not (flags and (number >> n) % 4 == 0)) for n in range(number % 4)]


def onward(value: tuple[int, tuple[int, ...]], at: int) -> tuple[int, tuple[int, ...]]:
    i, t = value
    return i, (*t, at)


def error_of(number: int, names: tuple[str, ...] = tuple(ERRORS)) -> str:
    return names[number % len(names)]


# ---------------------------------------------------------------------------------------- the steps as the library has


class Lambda:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not through here")


class Unread:
    """Can be pickled, and read anywhere but at home."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        return _not_at_home, (self.home,)


def _not_at_home(home: int) -> Unread:
    if os.getpid() == home:
        raise ValueError("not here")
    return Unread(home)


def _count(spec: Spec, value: Any) -> int:
    """How often this step was at this value before."""
    name = os.path.join(spec.marks, f"{spec.at}-{zlib.crc32(repr(value).encode())}-{value[0]}")
    fd = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    try:
        os.write(fd, b"x")
        return os.fstat(fd).st_size - 1
    finally:
        os.close(fd)


def _new(value: Any, made: tuple[int, tuple[int, ...]], spec: Spec) -> Any:
    if spec.mutates:
        value["t"][:] = made[1]
        return value
    return {"i": made[0], "t": list(made[1]), "pad": value["pad"]}


def _do(spec: Spec, value: Any) -> Any:
    """What a step returns; ("hang",) and ("slow", outcome) are for the caller to carry out."""
    was = pure(value)
    action, number = drawn(spec, was)
    if spec.mutates:
        value["t"].append(-1)  # nobody may ever see this: failures have the record as it was fed
    if action == "raise" or (action == "flaky" and _count(spec, was) <= number % 2):
        raise ERRORS[error_of(number)](f"{spec.name} {was[0]}")
    if action == "shape":
        return [None, (value,), (value, 1), value, [value, True]][number % 5]
    if action == "drop":
        return DROP
    if action == "unpick":
        made = _new(value, onward(was, spec.at), spec)
        made["t"] = Lambda()
        return made, number % 3 > 0
    if action == "unread":
        made = _new(value, onward(was, spec.at), spec)
        made["t"] = Unread(spec.home)
        return made, number % 3 > 0
    if action in ("fan", "fanraise"):

        def born() -> Any:
            for child, goes_on in children(number, was, spec.at, flags=spec.form == "plain"):
                yield {"i": child[0], "t": list(child[1]), "pad": b""}, goes_on
            if action == "fanraise":
                raise ERRORS[error_of(number, SAFE_IN_GENERATORS)](f"{spec.name} {was[0]}")

        return born()
    if action == "crash":
        os._exit(3)
    if action == "hang":
        return ("hang",)
    made = _new(value, onward(was, spec.at), spec), action != "bypass"
    return ("slow", made, number % 5 * 0.001) if action == "slow" else made


class Plain:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.__name__ = spec.name

    def __call__(self, value: Any) -> Any:
        outcome = _do(self.spec, value)
        if outcome == ("hang",):
            time.sleep(3600)
        if type(outcome) is tuple and len(outcome) == 3:
            time.sleep(outcome[2])
            return outcome[1]
        return outcome


class OnLoop(Plain):
    async def __call__(self, value: Any) -> Any:
        outcome = _do(self.spec, value)
        if outcome == ("hang",):
            await asyncio.sleep(3600)
        if type(outcome) is tuple and len(outcome) == 3:
            await asyncio.sleep(outcome[2])
            return outcome[1]
        return outcome


class Gen(Plain):
    """A generator function as a step."""

    def __call__(self, value: Any) -> Any:
        outcome = _do(self.spec, value)
        if outcome is DROP:
            return
        if type(outcome) is tuple:
            yield outcome
        else:
            yield from outcome


class OnLoopGen(Plain):
    async def __call__(self, value: Any) -> Any:
        outcome = _do(self.spec, value)
        if outcome is DROP:
            return
        if type(outcome) is tuple:
            yield outcome
            return
        for child in outcome:
            await asyncio.sleep(0)
            yield child


class Fn:
    """What `apply`, `keep_if` and `expand` wrap."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.__name__ = spec.name

    def __call__(self, value: Any) -> Any:
        outcome = _do(self.spec, value)
        if self.spec.form == "apply":
            return outcome[0]
        if self.spec.form == "keep":
            return outcome is not DROP
        return [] if outcome is DROP else [child for child, _ in outcome]


class Many:
    """What `vectorize` wraps."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.__name__ = spec.name

    def __call__(self, values: list[Any]) -> list[Any]:
        outcomes = [_do(self.spec, value) for value in values]
        return [outcome if outcome is DROP else outcome[0] for outcome in outcomes]


class OnLoopFn(Fn):
    async def __call__(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return super().__call__(value)


def step_of(spec: Spec) -> Any:
    if spec.form == "plain":
        return (OnLoop if spec.on_loop else Plain)(spec)
    if spec.form == "gen":
        return (OnLoopGen if spec.on_loop else Gen)(spec)
    if spec.form == "many":
        return vectorize(Many(spec), spec.size)
    wrap = {"apply": apply, "keep": keep_if, "expand": expand}[spec.form]
    return wrap((OnLoopFn if spec.on_loop else Fn)(spec))


# ------------------------------------------------------------------------------------------------ the reference model


@dataclass
class Came:
    """What a record, or a part of it, comes to. `failures`: (step, kind, error_type, attempts)."""

    results: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    bypassed: int = 0
    filtered: int = 0
    retried: int = 0

    @property
    def outcomes(self) -> int:
        return len(self.results) + len(self.failures) + self.filtered


class Ended(Exception):
    """A record's worker was ended over it."""


class Model:
    """The steps, one record at a time, in one thread. `counts`: how often a flaky step was tried."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.counts: Counter = Counter()
        self.segments: list[list[Spec]] = []
        for spec in scene.steps:
            if not self.segments or self.segments[-1][0].on_loop is not spec.on_loop:
                self.segments.append([])
            self.segments[-1].append(spec)

    def record(self, i: int) -> Came:
        scene, first = self.scene, self.scene.steps[0]
        kind = scene.records[i].kind
        if scene.key_raises and i % 11 == 3:
            return Came(failures=[("order", "raised", "KeyError", 1)])
        if kind in ("pack", "load") and not first.on_loop:
            return Came(failures=[(first.name, "unpicklable", "TypeError" if kind == "pack" else "ValueError", 1)])
        return self.part((i, ()), 0, 0)

    def part(self, value: Any, segment: int, at: int) -> Came:
        """A part, from a step of a segment to its end: tried again from here."""
        if segment == len(self.segments):
            return Came([value])
        retry, tried, total = self.scene.retry, 0, Came()
        while True:
            tried += 1
            going: list = []  # (value, segment, step), or a result
            came, again = self.attempt(value, segment, at, going)
            if not (again and retry and tried < retry.attempts):
                break
            total.retried += 1
        came.failures = [(step, kind, name, tries + tried - 1) for step, kind, name, tries in came.failures]
        came.retried = total.retried
        for item in going:
            if item[0] == "out":
                came.results.append(item[1])
                continue
            further = self.part(*item[1:])
            came.results += further.results
            came.failures += further.failures
            came.bypassed += further.bypassed
            came.filtered += further.filtered
            came.retried += further.retried
        return came

    def attempt(self, value: Any, segment: int, at: int, going: list) -> tuple[Came, bool]:
        steps, came = self.segments[segment], Came()
        if not steps[0].on_loop:
            try:
                again = self.worker(value, steps, 0, segment, going, came)
            except Ended as ended:  # with all that had come of it
                going.clear()
                spec, kind, name = ended.args
                return Came(failures=[(spec.name, kind, name, 2)]), self.worth(kind, name, True)  # and once more alone
            if came.outcomes == 0 and not going:
                came.filtered = 1
            return came, again
        while at < len(steps):
            kind, outcome = self.call(steps[at], value)
            at += 1
            if kind == "failed":
                came.failures.append((steps[at - 1].name, *outcome[:2], 1))
                return came, self.worth(*outcome)
            if kind == "drop" or (kind == "fan" and not outcome):
                came.filtered = 1
                return came, False
            if kind == "fan":
                for child, goes_on in outcome:
                    came.bypassed += not goes_on
                    going.append(
                        ("part", child, *((segment, at) if at < len(steps) else (segment + 1, 0)))
                        if goes_on
                        else ("out", child)
                    )
                return came, False
            value, goes_on = outcome
            if not goes_on:
                came.bypassed += 1
                going.append(("out", value))
                return came, False
        going.append(("part", value, segment + 1, 0))
        return came, False

    def worker(self, value: Any, steps: list[Spec], at: int, segment: int, going: list, came: Came) -> bool:
        """`def` steps: all of it is one attempt. Returns whether a failure is worth another."""
        if at == len(steps):
            going.append(("part", value, segment + 1, 0))
            return False
        action, number = drawn(steps[at], value)
        if (
            action == "fanraise"
        ):  # its children go on before it raises, to where they are gathered, and may end the worker
            gathered = next((k for k in range(at + 1, len(steps)) if steps[k].form == "many"), len(steps))
            for child, goes_on in children(number, value, steps[at].at, flags=steps[at].form == "plain"):
                if goes_on or steps[at].form == "expand":
                    self.worker(child, steps[:gathered], at + 1, segment, [], Came())
        kind, outcome = self.call(steps[at], value)
        if kind == "failed":
            if outcome[0] != "raised":
                raise Ended(steps[at], *outcome[:2])
            came.failures.append((steps[at].name, *outcome[:2], 1))
            return self.worth(*outcome)
        if kind == "drop" or (kind == "fan" and not outcome):
            came.filtered += 1
            return False
        if kind in ("unpick", "unread"):
            came.failures.append((steps[-1].name, "unpicklable", "TypeError" if kind == "unpick" else "ValueError", 1))
            return False
        again = False
        for child, goes_on in outcome if kind == "fan" else [outcome]:
            if goes_on:
                again |= self.worker(child, steps, at + 1, segment, going, came)
            else:
                came.bypassed += 1
                going.append(("out", child))
        return again

    def call(self, spec: Spec, value: Any) -> tuple[str, Any]:
        action, number = drawn(spec, value)
        if action == "flaky":
            self.counts[spec.at, value] += 1
            if self.counts[spec.at, value] - 1 <= number % 2:
                return "failed", self.raised(spec, error_of(number))
        if action == "raise":
            return "failed", self.raised(spec, error_of(number))
        if action == "shape":
            return "failed", ("raised", "StepError", False)
        if action == "drop":
            return ("fan", []) if spec.form in ("gen", "expand") else ("drop", None)
        if action == "crash":
            return "failed", ("crashed", "WorkerLost", True)
        if action == "hang":
            return "failed", ("timeout", "TimeoutError", True)
        if action in ("unpick", "unread"):
            return action, None
        if action in ("fan", "fanraise"):
            born = children(number, value, spec.at, flags=spec.form == "plain")
            if action == "fanraise":
                return "failed", self.raised(spec, error_of(number, SAFE_IN_GENERATORS))
            return "fan", [(child, goes_on or spec.form == "expand") for child, goes_on in born]
        if spec.form == "keep":
            return "pair", (value, True)
        made = onward(value, spec.at), action != "bypass"
        return ("fan", [made]) if spec.form in ("gen", "expand") else ("pair", made)

    def raised(self, spec: Spec, name: str) -> tuple[str, str, bool]:
        if name == "StopIteration" and (spec.form in ("gen", "expand") or spec.on_loop):
            name = "RuntimeError"  # Python's own doing, in a generator or a coroutine
        return "raised", name, True

    def worth(self, kind: str, name: str, matters: bool) -> bool:
        if self.scene.retry is None or not matters:
            return False
        if kind == "crashed":
            return issubclass(_WorkerLost, self.scene.retry.on)
        cls = RuntimeError if name == "RuntimeError" else ERRORS.get(name, TimeoutError)
        return issubclass(cls, self.scene.retry.on)


from pipeframe_async import WorkerLost as _WorkerLost  # noqa: E402

# ---------------------------------------------------------------------------------------------------------- the scene


@dataclass(frozen=True)
class Rec:
    kind: str  # plain, pack, load, huge
    pad: int
    handle: str  # "", sync, async, raising


@dataclass(frozen=True)
class Scene:
    seed: int
    executor: str
    steps: tuple[Spec, ...]
    records: tuple[Rec, ...]
    script: tuple[tuple, ...]  # ("rec", i) ("chunk", (i, ...)) ("pause", s) ("raise", name)
    form: str
    source: str
    order: str
    key_raises: bool
    retry: Retry | None
    time_limit: float | None
    async_concurrency: int
    batch_size: int | None
    buffer_size: int
    buffer_bytes: int
    max_failures: int | float | None
    dead_letter: str  # none sync async raising
    consumer: str  # count sync async stream sync-raising async-raising
    slow: float
    progress: str  # none sync async raising
    ending: str  # none stop cancel cancel-twice leave
    end_at: float  # seconds, or results for leave
    kills: int

    def words(self) -> str:
        lines = [
            f"    {f.name} = {getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if f.name not in ("steps", "records", "script", "seed")
        ]
        steps = [
            f"    step {s.name}: {'async' if s.on_loop else 'def'} {s.form}{' mutates' if s.mutates else ''} {dict(s.weights)}"
            for s in self.steps
        ]
        odd = {i: (r.kind, r.pad, r.handle) for i, r in enumerate(self.records) if r.kind != "plain" or r.handle}
        return "\n".join(
            [
                *steps,
                *lines,
                f"    records = {len(self.records)}, other than plain: {str(odd)[:300]}",
                f"    script = {str(self.script)[:400]}",
            ]
        )


IN_THREADS = ("gen", "iter", "bucket")
FORMS = ("asyncgen", "asynciter", "gen", "iter", "list", "bucket", "asyncbucket", "returns")


def draw_scene(seed: int, executor: str, marks: str) -> Scene:
    d, of_many = random.Random(f"{seed}"), random.Random(f"many {seed}")
    real = executor == "processes"
    dangerous = real and d.random() < 0.12  # scenes with crashes or hangs are slow
    kills = d.choice([1, 3, 6]) if real and d.random() < 0.15 else 0
    retry = d.choice(
        [
            None,
            None,
            Retry(2, backoff=0.002),
            Retry(3, on=(OSError, ValueError), backoff=0.001),
            Retry(4, on=(BaseException,), backoff=0.0, jitter=False),
        ]
    )
    time_limit = 0.4 if dangerous else None
    if executor == "fake" and d.random() < 0.2:
        time_limit = 0.5
    count, steps, at = d.choice([1, 1, 2, 2, 3, 4, 6]), [], 0
    on_loop = [d.random() < d.choice([0.0, 0.0, 0.5, 1.0]) for _ in range(count)]
    for at in range(count):
        form = d.choice(["plain"] * 4 + ["apply", "keep", "expand", "gen"])
        # Not where workers are ended over a record: of its children others are at work then than one after the other.
        size = of_many.choice([1, 3, 16, 256]) if form == "apply" and not dangerous and not on_loop[at] else 0
        if size and of_many.random() < 0.8:
            form = "many"
        weights: dict[str, int] = {"go": d.choice([10, 40, 200])}
        some = d.random() < 0.8
        if form == "plain":
            optional = ["bypass", "drop", "fan", "fanraise", "raise", "shape", "slow"]
        else:
            optional = {
                "apply": ["raise"],
                "many": ["raise", "drop"],
                "keep": ["drop", "raise"],
                "expand": ["drop", "fan", "raise"],
                "gen": ["drop", "fan", "fanraise", "raise"],
            }[form]
        if form == "expand":
            weights = {"fan": weights["go"]}
            optional.remove("fan")
        if form in ("plain", "apply") and retry and not dangerous and not kills:
            optional.append("flaky")
        last_def = not on_loop[at] and (at + 1 == count or on_loop[at + 1])
        if form == "plain" and last_def:
            optional += ["unpick", "unread"]
        if some:
            for action in d.sample(optional, d.randint(0, min(4, len(optional)))):
                weights[action] = d.choice([1, 3, 6])
        if dangerous and form == "plain" and not on_loop[at] and d.random() < 0.5:
            weights[d.choice(["crash", "hang"])] = 1
        if time_limit and executor == "fake" and form == "plain" and on_loop[at]:
            weights["hang"] = 1
        if form == "gen":
            weights.pop("slow", None)
        steps.append(
            Spec(
                at,
                on_loop[at],
                form,
                tuple(weights.items()),
                d.random() < 0.3 and form in ("plain", "apply"),
                d.randrange(2**20),
                marks,
                os.getpid(),
                size,
            )
        )
    if any(dict(s.weights).get("unread") for s in steps):  # then batches are run twice, and attempts are not counted
        steps = [replace(s, weights=tuple((a, w) for a, w in s.weights if a != "flaky")) for s in steps]
    n = d.choice([0, 1, 2, 7, 20, 20, 60, 60, 200] + ([700, 2500] if not dangerous else []))
    if executor == "fake":
        n = min(n, 200)
    if dangerous:
        n = min(n, 40)
    buffer_bytes = d.choice([256 * 2**20] * 3 + [3000, 20_000])
    odd = d.random() < 0.25 and not steps[0].on_loop
    # Where steps share the process nothing is copied, and that is said: no record may be changed or unpicklable.
    if executor in ("auto", "threads", "inline"):
        odd, steps = (
            False,
            [
                replace(s, mutates=False, weights=tuple((a, w) for a, w in s.weights if a not in ("unpick", "unread")))
                for s in steps
            ],
        )
    records = []
    handles = d.choice(["", "", "sync", "async", "mixed", "raising"])
    for _ in range(n):
        kind = d.choice(["pack", "load", "huge"]) if odd and d.random() < 0.05 else "plain"
        pad = (
            d.choice([0, 0, 50, 300])
            if buffer_bytes < 2**20
            else d.choice([0, 0, 0, 20, 5000, 40_000] if d.random() < 0.05 else [0])
        )
        handle = handles if handles != "mixed" else d.choice(["", "sync", "async"])
        records.append(
            Rec(
                kind if kind != "huge" or buffer_bytes < 2**20 else "plain",
                2 * buffer_bytes if kind == "huge" and buffer_bytes < 2**20 else pad,
                handle,
            )
        )
    lumpy = (
        executor not in ("fake", "auto") and n >= 200 and d.random() < 0.25
    )  # many small records, and a few large ones
    if lumpy:
        buffer_bytes = 256 * 2**20 if d.random() < 0.5 else 200_000
        records = [
            Rec("plain", d.choice([60_000, 100_000]) if d.random() < 0.02 else d.choice([0, 20]), rec.handle)
            for rec in records
        ]
    script: list[tuple] = []
    left, pausing, chunks = list(range(n)), d.choice([0.0, 0.0, 0.02, 0.2]), d.choice([0.0, 0.0, 0.1, 0.6])
    while left:
        if d.random() < pausing:
            script.append(("pause", d.choice([0.0, 0.001, 0.01])))
        k = d.choice([0, 1, 3, 9, 80]) if d.random() < chunks else 1
        taken, left = left[:k], left[k:]
        script.append(("chunk", tuple(taken)) if k != 1 or d.random() < 0.05 else ("rec", taken[0]))
    if d.random() < 0.08:
        script.insert(
            d.randint(0, len(script)),
            ("raise", d.choice(["ValueError", "Base", "CancelledError", "KeyError", "TimeoutError"])),
        )
    ending = d.choice(["none"] * 5 + ["stop", "cancel", "cancel-twice", "leave"])
    if d.random() < 0.06 and not any(item[0] == "raise" for item in script):
        ending = "idle"
    if d.random() < 0.08 and executor in ("processes", "threads", "inline"):
        ending = "calls"
    consumer = d.choice(
        ["count", "sync", "async", "stream"] + (["sync-raising", "async-raising"] if d.random() < 0.2 else [])
    )
    if ending == "leave" or (
        any(a in ("unpick", "unread") for s in steps for a, _ in s.weights) and consumer == "count"
    ):
        consumer = "stream"
    form = d.choice(FORMS)
    if any(item[0] in ("pause", "raise") for item in script) and form == "list":
        form = "gen"
    if executor == "fake" and form in IN_THREADS:  # the virtual clock does not wait for a feed's thread
        form = "asyncgen"
    order = d.choice(["input", "input", "completion", "key"])
    if ending == "idle":
        form = d.choice(["asyncgen", "asynciter", "asyncbucket", "returns"])
        script.append(("pause", 3600.0))
    if ending == "calls":
        form, consumer, order = "list", "calls", d.choice(["input", "key"])
        script = [("rec", i) for i in range(n)]
        records = [Rec(rec.kind if rec.kind != "huge" else "plain", min(rec.pad, 1000), "") for rec in records]
    return Scene(
        seed=seed,
        executor=executor,
        steps=tuple(steps),
        records=tuple(records),
        script=tuple(script),
        form=form,
        source=d.choice(["batch", "stream", "stream"]) if ending != "idle" else "stream",
        order=order,
        key_raises=order == "key" and d.random() < 0.2,
        retry=retry,
        time_limit=time_limit,
        async_concurrency=d.choice([1, 3, 64]),
        batch_size=d.choice([None, None, 1, 7]),
        buffer_size=d.choice([1, 2, 5, 20, 50, 50, 1000]) if not lumpy else d.choice([50, 300, 1000]),
        buffer_bytes=buffer_bytes,
        max_failures=d.choice([None] * 6 + [0, 3, 0.5, 1.0]),
        dead_letter=d.choice(["sync", "async", "async", "none"] + (["raising"] if d.random() < 0.1 else [])),
        consumer=consumer,
        slow=d.choice([0.0, 0.0, 0.001, 0.01]) if n < 300 else 0.0,
        progress=d.choice(["none", "sync", "async", "raising"] if d.random() < 0.5 else ["none"]),
        ending=ending,
        end_at=d.random() * d.choice([0.01, 0.1, 0.5]) if ending != "leave" else d.choice([0, 1, 5, 30]),
        kills=kills,
    )


# -------------------------------------------------------------------------------------------------------- played


class Bad:
    """A record that cannot be pickled, or cannot be read where it arrives."""

    def __init__(self, i: int, kind: str) -> None:
        self.i, self.kind = i, kind

    def __reduce__(self) -> Any:
        if self.kind == "pack":
            raise TypeError("cannot be packed")
        return _unreadable, (self.i,)


def _unreadable(i: int) -> None:
    raise ValueError(f"cannot be read: {i}")


class Play:
    """A scene at work, and what came of it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.given: list[int] = []  # records handed to the library, in order
        self.begun: list[int] = []  # and those of puts that had begun
        self.handles: set[int] = set()
        self.acks: Counter = Counter()
        self.nacks: dict[int, list] = {}
        self.ended_acks: set[int] = set()
        self.taken: list = []
        self.dead: list = []
        self.watermarks: list[int] = []
        self.wrong: list[str] = []
        self.report: Any = None
        self.error: BaseException | None = None
        self.closed = self.opened = 0
        self.left = False
        self.sink_raised = self.dead_raised = False

    # the feed

    def value(self, i: int) -> Any:
        rec = self.scene.records[i]
        made: Any = Bad(i, rec.kind) if rec.kind in ("pack", "load") else {"i": i, "t": [], "pad": b"x" * rec.pad}
        if not rec.handle:
            return made

        def ack() -> Any:
            self.acks[i] += 1
            if rec.handle == "raising":
                raise Custom("ack")

        async def slow_ack() -> None:
            self.acks[i] += 1
            await asyncio.sleep(0.001)
            self.ended_acks.add(i)

        def nack(failure: Any) -> Any:
            self.nacks.setdefault(i, []).append(failure)
            if rec.handle == "raising":
                raise Custom("nack")

        return Delivery(made, key=i, ack=slow_ack if rec.handle == "async" else ack, nack=nack)

    def item(self, item: tuple) -> Any:
        ids = item[1] if item[0] == "chunk" else (item[1],)
        values = [self.value(i) for i in ids]
        return Chunk(values) if item[0] == "chunk" else values[0]

    def hand(self, item: tuple) -> Any:
        """Note that it is handed over now."""
        ids = item[1] if item[0] == "chunk" else (item[1],)
        self.given += ids
        return self.item(item)

    def feed(self) -> Any:
        scene, script = self.scene, self.scene.script
        if scene.form == "list":
            self.begun = [i for item in script for i in (item[1] if item[0] == "chunk" else (item[1],))]
            return [self.item(item) for item in script]

        def plain() -> Any:
            self.opened += 1
            try:
                for item in script:
                    if item[0] == "pause":
                        time.sleep(item[1])
                    elif item[0] == "raise":
                        raise ERRORS[item[1]]("feed")
                    else:
                        yield self.hand(item)
            finally:
                self.closed += 1

        async def waiting() -> Any:
            self.opened += 1
            try:
                for item in script:
                    if item[0] == "pause":
                        await asyncio.sleep(item[1])
                    elif item[0] == "raise":
                        raise ERRORS[item[1]]("feed")
                    else:
                        yield self.hand(item)
            finally:
                self.closed += 1

        def bucket(bucket: Any) -> None:
            for item in script:
                if item[0] == "pause":
                    time.sleep(item[1])
                elif item[0] == "raise":
                    raise ERRORS[item[1]]("feed")
                else:
                    ids = item[1] if item[0] == "chunk" else (item[1],)
                    self.begun += ids
                    bucket.put(self.item(item))
                    self.given += ids

        async def abucket(bucket: Any) -> None:
            for item in script:
                if item[0] == "pause":
                    await asyncio.sleep(item[1])
                elif item[0] == "raise":
                    raise ERRORS[item[1]]("feed")
                else:
                    ids = item[1] if item[0] == "chunk" else (item[1],)
                    self.begun += ids
                    await bucket.put(self.item(item))
                    self.given += ids

        class Iterable:
            def __aiter__(self) -> Any:
                return waiting()

        match scene.form:
            case "asyncgen":
                return waiting
            case "asynciter":
                return Iterable()
            case "gen":
                return plain
            case "iter":
                return plain()
            case "bucket":
                return bucket
            case "asyncbucket":
                return abucket
        return lambda: waiting()

    # the pipeline

    def pipeline(self) -> PipelineEngine:
        play, scene = self, self.scene

        class P(PipelineEngine):
            pass

        P.steps = [step_of(spec) for spec in scene.steps]
        P.source, P.timeout, P.order = (
            scene.source,
            1.0 if scene.ending == "idle" else None,
            scene.order if scene.order != "key" else self.key,
        )
        P.retry, P.time_limit, P.async_concurrency = scene.retry, scene.time_limit, scene.async_concurrency
        P.batch_size, P.max_failures = scene.batch_size, scene.max_failures
        calls = [0]

        def took(results: list) -> None:
            calls[0] += 1
            if "raising" in scene.consumer and calls[0] == 3:
                self.sink_raised = True
                raise Custom("sink")
            play.taken += [pure(r) for r in results]

        def sync_sink(self: Any, results: list) -> None:
            time.sleep(scene.slow)
            took(results)

        async def async_sink(self: Any, results: list) -> None:
            await asyncio.sleep(scene.slow)
            took(results)

        if scene.consumer.startswith(("sync", "async")):
            P.sink = sync_sink if scene.consumer.startswith("sync") else async_sink

        def died(failures: list) -> None:
            if scene.dead_letter == "raising" and play.dead:
                play.dead_raised = True
                raise Custom("dead")
            play.dead += failures

        def sync_dead(self: Any, failures: list) -> None:
            died(failures)

        async def async_dead(self: Any, failures: list) -> None:
            await asyncio.sleep(0)
            died(failures)

        if scene.dead_letter != "none":
            P.dead_letter = sync_dead if scene.dead_letter == "sync" else async_dead

        def noted(watermark: int) -> None:
            play.watermarks.append(watermark)
            if scene.form not in ("bucket", "asyncbucket", "list"):
                for i in play.given[:watermark]:
                    if play.scene.records[i].handle in ("sync", "raising") and not play.acks[i] and i not in play.nacks:
                        play.wrong.append(f"watermark {watermark} told before record {i} had its answer")
                        break
            if scene.progress == "raising":
                raise Custom("progress")

        def sync_progress(self: Any, watermark: int) -> None:
            noted(watermark)

        async def async_progress(self: Any, watermark: int) -> None:
            noted(watermark)
            await asyncio.sleep(0.001)

        if scene.progress != "none":
            P.on_progress = sync_progress if scene.progress == "sync" else async_progress
        return P()

    def handles_of_given(self) -> set[int]:
        return {i for i, rec in enumerate(self.scene.records) if rec.handle}

    def key(self, value: Any) -> int:
        i = value.i if isinstance(value, Bad) else value["i"]
        if self.scene.key_raises and i % 11 == 3:
            raise KeyError(i)
        return i % 4

    # the run

    async def act(self, frame: PipeFrame) -> None:
        scene = self.scene
        running = asyncio.ensure_future(self.consume(frame))
        helpers = [asyncio.ensure_future(self.watch(frame))]
        if scene.ending in ("stop", "cancel", "cancel-twice"):
            helpers.append(asyncio.ensure_future(self.end(frame, running)))
        if scene.kills:
            helpers.append(asyncio.ensure_future(self.kill()))
        patience = HANG if scene.executor != "fake" else 40 * HANG  # virtual seconds pass at once
        done, _ = await asyncio.wait([running], timeout=patience)
        if not done:
            self.wrong.append(f"hung for {patience:g} s; stats {frame.stats()}\n{_state(frame)}")
            running.cancel()
            await asyncio.wait([running], timeout=10)
        for task in helpers:
            task.cancel()
        await asyncio.wait(helpers)
        for task in helpers:
            if not task.cancelled() and task.exception():
                self.wrong.append(f"helper: {task.exception()!r}")
        if running.done():
            self.error = asyncio.CancelledError() if running.cancelled() else running.exception()

    async def consume(self, frame: PipeFrame) -> None:
        scene = self.scene
        pipeline, feed = self.pipeline(), self.feed()
        if scene.consumer == "calls":
            await self.calls(frame, pipeline)
            return
        try:
            if scene.consumer != "stream":
                self.report = await frame.run(pipeline, feed)
                return
            async with frame.stream(pipeline, feed) as results:
                try:
                    if scene.ending == "leave" and scene.end_at == 0:
                        self.left = True
                        return
                    async for result in results:
                        self.taken.append(pure(result))
                        if scene.ending == "leave" and len(self.taken) >= scene.end_at:
                            self.left = True
                            break
                        if scene.slow:
                            await asyncio.sleep(scene.slow / 10)
                finally:
                    self.stream = results
        finally:
            if getattr(self, "stream", None) is not None:
                try:
                    self.report = self.stream.report
                except Exception as problem:
                    self.wrong.append(f"no report: {problem!r}")
            elif (error := sys.exc_info()[1]) is not None:
                self.report = getattr(error, "report", None)

    async def calls(self, frame: PipeFrame, pipeline: PipelineEngine) -> None:
        """Each record by a call of its own, many at a time; some callers give up."""
        d, model = random.Random(self.scene.seed), Model(self.scene)
        at_once = asyncio.Semaphore(d.choice([1, 7, 100]))
        listed = any(spec.form in ("expand", "gen") for spec in self.scene.steps)

        async def one(i: int, gives_up: float) -> None:
            came = model.record(i)
            async with at_once:
                try:
                    got = await asyncio.wait_for(frame.call(pipeline, self.value(i)), gives_up or HANG)
                except TimeoutError:
                    if not gives_up:
                        self.wrong.append(f"the call of record {i} hung")
                    return
                except StepError as error:
                    told = (error.failure.step, error.failure.kind, error.failure.error_type)
                    if told not in [f[:3] for f in came.failures]:
                        self.wrong.append(f"the call of record {i} raised {error!r} instead of {came}")
                    return
            if came.failures:
                self.wrong.append(f"the call of record {i} gave {got!r} instead of {came.failures}")
                return
            many = listed or len(came.results) > 1
            seen = [pure(r) for r in got] if isinstance(got, list) else got if got is DROP else pure(got)
            wanted: Any = came.results if many else came.results[0] if came.results else DROP
            if seen != wanted:
                self.wrong.append(f"the call of record {i} gave {seen!r} instead of {wanted!r}")

        share = d.choice([0.0, 0.0, 0.2])
        await asyncio.gather(
            *(one(i, d.random() * 0.01 if d.random() < share else 0.0) for i in range(len(self.scene.records)))
        )

    async def end(self, frame: PipeFrame, running: asyncio.Task) -> None:
        await asyncio.sleep(self.scene.end_at)
        if self.scene.ending == "stop":
            frame.stop()
            return
        running.cancel()
        if self.scene.ending == "cancel-twice":
            await asyncio.sleep(0.002)
            running.cancel()

    async def watch(self, frame: PipeFrame) -> None:
        """The books balance at every instant."""
        while True:
            s = frame.stats()
            if s.fed + s.emitted != s.delivered + s.filtered + s.failed + s.aborted + s.in_flight + s.spilled:
                self.wrong.append(f"books: {s}")
            if s.in_flight > self.scene.buffer_size and self.scene.consumer != "calls":
                self.wrong.append(f"in_flight {s.in_flight} > buffer_size {self.scene.buffer_size}")
            await asyncio.sleep(0.003)

    async def kill(self) -> None:
        d = random.Random(self.scene.seed)
        for _ in range(self.scene.kills):
            await asyncio.sleep(d.random() * 0.15)
            pids = workers()
            if pids:
                os.kill(d.choice(pids), signal.SIGKILL)

    # what must hold

    def check(self) -> list[str]:
        scene, report, wrong = self.scene, self.report, self.wrong
        if scene.consumer == "calls":
            return wrong + ([f"ended with {self.error!r}{_cause(self.error)}"] if self.error else [])
        model = Model(scene)
        fed_order = [
            i
            for item in scene.script
            if item[0] in ("rec", "chunk")
            for i in (item[1] if item[0] == "chunk" else (item[1],))
        ]
        if report is None:
            if isinstance(self.error, asyncio.CancelledError) and scene.ending.startswith("cancel"):
                report = None  # a cancelled run has its books in nobody's hands
            else:
                wrong.append(f"no report; error {self.error!r}")
                return wrong
        if (
            report is not None
            and report.fed + report.emitted != report.delivered + report.filtered + report.failed + report.aborted
        ):
            wrong.append(f"books do not balance: {report}")
        fed = report.fed if report is not None else max(len(self.given), len(self.begun))
        if report is not None:
            least, most = len(self.given), len(self.given)
            if scene.form in ("bucket", "asyncbucket"):
                most = len(self.begun)
            if scene.form in IN_THREADS:
                least -= max((len(item[1]) for item in scene.script if item[0] == "chunk"), default=0) + 3
            if scene.form == "list":
                least, most = 0, len(self.begun)
            if not least <= fed <= most:
                wrong.append(f"fed {fed}, but {least} to {most} were handed over")
        if scene.form in ("gen", "iter", "asyncgen", "asynciter", "returns") and self.opened != self.closed:
            wrong.append(f"feed opened {self.opened}, closed {self.closed}")
        came = {i: model.record(i) for i in fed_order[:fed]}
        self._results(came, fed_order[:fed])
        self._failures(came)
        self._handles(came, fed_order, fed)
        if self.watermarks != sorted(set(self.watermarks)):
            wrong.append(f"watermarks not rising: {self.watermarks}")
        given_up = next((at for at, i in enumerate(fed_order[:fed]) if self.nacks.get(i) == [None]), fed)
        if self.watermarks and max(self.watermarks) > given_up and report is not None:
            wrong.append(f"watermark {max(self.watermarks)} is past position {given_up}, which was given up")
        self._ended(came, fed, fed_order)
        return wrong

    def _results(self, came: dict[int, Came], order: list[int]) -> None:
        scene, expected = self.scene, [r for i in order for r in came[i].results]
        if extra := Counter(self.taken) - Counter(expected):
            self.wrong.append(f"delivered what should not be, or twice: {list(extra.items())[:5]}")
        groups = {"input": [lambda r: 0], "key": [lambda r: r[0] % 4]}.get(scene.order, [])
        for group in groups:
            for key in {group(r) for r in self.taken}:
                mine, theirs = (
                    [r for r in self.taken if group(r) == key],
                    iter([r for r in expected if group(r) == key]),
                )
                if not all(r in theirs for r in mine):
                    self.wrong.append(f"out of order (key {key}): {mine[:12]}")

    def _failures(self, came: dict[int, Came]) -> None:
        seen: Counter = Counter()
        for failure in self.dead:
            record = failure.record
            i = record.i if isinstance(record, Bad) else record["i"] if isinstance(record, dict) else None
            if i is None:
                if not isinstance(record, bytes):
                    self.wrong.append(f"a failure's record is {record!r}")
                continue
            if isinstance(record, dict) and record["t"]:
                self.wrong.append(f"a failure's record was changed: {record['i']} {record['t']} ({failure})")
            told = (failure.step, failure.kind, failure.error_type, failure.attempts)
            seen[i, told] += 1
            may = came[i].failures if i in came else []
            kinds = [f[:3] for f in may] if self.scene.kills else may
            if (told[:3] if self.scene.kills else told) not in kinds:
                self.wrong.append(f"record {i} failed with {told} instead of {may} ({failure.message})")
        for (i, told), times in seen.items():
            if not self.scene.kills and i in came and times > came[i].failures.count(told):
                self.wrong.append(f"record {i}: failure {told} {times} times, not {came[i].failures.count(told)}")

    def _handles(self, came: dict[int, Came], order: list[int], fed: int) -> None:
        handed = set(order[:fed])
        for i in self.handles_of_given():
            answers = self.acks[i] + len(self.nacks.get(i, []))
            if i not in handed:
                if answers and self.scene.form not in ("bucket", "asyncbucket"):
                    self.wrong.append(f"record {i} was not fed and has {answers} answers")
                continue
            late = self.scene.form in IN_THREADS and self.scene.ending.startswith("cancel")
            if answers == 0 and self.report is None and (i not in self.given or late):
                continue
            if answers != 1:
                self.wrong.append(f"record {i}: {self.acks[i]} acks, nacks {self.nacks.get(i)}")
                continue
            if self.acks[i] and came[i].failures and self.scene.dead_letter == "none":
                self.wrong.append(f"record {i} was acked and nobody has its failures: {came[i].failures}")
            forgiven = not came[i].failures or self.scene.dead_letter != "none"
            if self.nacks.get(i, [None])[0] is not None and forgiven:
                self.wrong.append(f"record {i} was nacked with {self.nacks[i]}")
            if self.acks[i] and self.scene.consumer != "count" and not self.scene.ending.startswith("cancel"):
                if missing := Counter(came[i].results) - Counter(self.taken):
                    self.wrong.append(f"record {i} was acked, and {list(missing)[:3]} was not taken")
            if self.scene.records[i].handle == "async" and self.acks[i] and i not in self.ended_acks:
                self.wrong.append(f"the ack of record {i} was cut short")

    def _ended(self, came: dict[int, Came], fed: int, order: list[int]) -> None:
        scene, report, error, wrong = self.scene, self.report, self.error, self.wrong
        failures = sum(len(c.failures) for c in came.values())
        raising = next((item[1] for item in scene.script if item[0] == "raise"), "")
        may: list[type] = []
        if scene.ending.startswith("cancel"):
            may.append(asyncio.CancelledError)
        if raising:
            may.append(FeedError)
        if self.sink_raised or self.dead_raised:
            may.append(SinkError)
        if scene.max_failures is not None and failures:
            may.append(PipelineFailed)
        if scene.dead_letter == "none" and scene.max_failures is None:
            pass  # max_failures is set to None on purpose
        if error is not None and not isinstance(error, tuple(may)):
            wrong.append(f"ended with {error!r}{_cause(error)}")
            return
        if self.sink_raised and not isinstance(error, (SinkError, asyncio.CancelledError)):
            wrong.append(f"the sink raised, and the run ended with {error!r}")
        if isinstance(error, FeedError) and type(error.__cause__).__name__ not in (raising, "CancelledError"):
            wrong.append(f"FeedError of {error.__cause__!r}, not {raising}")
        if error is not None or report is None:
            return
        if raising and scene.ending == "none" and not self.left:
            wrong.append(f"the feed raised {raising}, and the run ended well: {report.ended_by}")
        if (
            isinstance(scene.max_failures, int)
            and failures > scene.max_failures
            and not self.left
            and report.aborted == 0
        ):
            wrong.append(f"{failures} failures are more than {scene.max_failures}, and the run ended well")
        if self.left:
            return
        if report.aborted and scene.ending != "stop":
            wrong.append(f"aborted {report.aborted} for no reason")
        if report.aborted:
            return
        if fed != len(order) and scene.ending != "stop":
            wrong.append(f"fed {fed} of {len(order)}")
        expected = [r for i in order[:fed] for r in came[i].results]
        if scene.consumer != "count" and Counter(self.taken) != Counter(expected):
            wrong.append(f"lost: {list((Counter(expected) - Counter(self.taken)).items())[:5]}")
        counts = {
            "delivered": len(expected),
            "bypassed": sum(c.bypassed for c in came.values()),
            "filtered": sum(c.filtered for c in came.values()),
            "failed": failures,
            "emitted": sum(c.outcomes - 1 for c in came.values()),
            "retried": sum(c.retried for c in came.values()),
        }
        if scene.kills:
            del counts["retried"]
        told = {name: getattr(report, name) for name in counts}
        if told != counts:
            wrong.append(f"report {told}, expected {counts}")
        if scene.dead_letter in ("sync", "async") and len(self.dead) != failures:
            wrong.append(f"dead_letter had {len(self.dead)}, expected {failures}")
        if scene.progress in ("sync", "async") and fed and self.watermarks[-1:] != [fed]:
            wrong.append(f"last watermark {self.watermarks[-1:]}, fed {fed}")
        if report.ended_by != ("idle" if scene.ending == "idle" else "exhausted") and scene.ending != "stop":
            wrong.append(f"ended_by {report.ended_by}")
        if scene.progress == "raising" and report.ack_errors < len(self.watermarks):
            wrong.append(f"ack_errors {report.ack_errors}, on_progress raised {len(self.watermarks)} times")


def _state(frame: PipeFrame) -> str:
    """Where everything stands, as far as one can see from inside: only for people, nothing is decided by it."""
    try:
        from pipeframe_async._engine.stall import all_stacks, describe

        lines = [describe(asyncio.all_tasks()), all_stacks()]
        return "\n".join(lines)
    except Exception as problem:
        return f"no state: {problem!r}"


def _cause(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return "\n" + "\n".join(f"        | {line}" for line in text.splitlines()[-14:])


def workers() -> list[int]:
    """Worker processes of this process: children of its fork servers."""
    me, parents = os.getpid(), {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split(None, 2)[:2]
                if state != b"Z":
                    parents[int(entry)] = int(parent)
            except OSError:
                pass
    servers = {pid for pid, parent in parents.items() if parent == me}
    return [pid for pid, parent in parents.items() if parent in servers]


UNSEEN: list[str] = []
"""What Python could only report: errors nobody retrieved, in tasks, threads and finalizers."""
sys.unraisablehook = lambda told: UNSEEN.append(f"unraisable {told.exc_value!r} in {told.object!r}")
threading.excepthook = lambda told: UNSEEN.append(f"thread {told.thread and told.thread.name}: {told.exc_value!r}")


class FakeFrame(PipeFrame):
    """A frame on the library's FakeExecutor."""

    def __init__(self, scene: Scene, **options: Any) -> None:
        from pipeframe_async.testing import FakeExecutor

        d = random.Random(scene.seed)
        slow = d.choice([0.0, 1e-4, 1e-3])
        executor = FakeExecutor(
            d.randint(1, 3),
            slots=d.choice([1, 2]),
            delay=lambda number, records: d.random() * slow * records,
            start_seconds=d.choice([0.0, 0.05]),
        )
        super().__init__(executor=executor, **options)


def options(scene: Scene) -> dict[str, Any]:
    return {"buffer_size": scene.buffer_size, "buffer_bytes": scene.buffer_bytes, "drain_timeout": 10.0}


async def leftovers(before: set) -> list[str]:
    """What a run has left behind: tasks and threads. Threads of hooks end by themselves, in a moment."""
    tasks = [t.get_name() for t in asyncio.all_tasks() if t not in before and t is not asyncio.current_task()]
    names = ("pipeframe-feed", "pipeframe-sink", "pipeframe-dead_letter", "pipeframe-on_progress")
    threads: list[str] = []
    for _ in range(100):
        threads = [t.name for t in threading.enumerate() if t.name.startswith(names)]
        if not threads:
            break
        time.sleep(0.01)
    return [f"left behind: {x}" for x in tasks + threads]


class Players:
    """Plays scenes; keeps warm frames of two workers for those with real processes, on one loop."""

    def __init__(self, loop_factory: Any = None) -> None:
        self.runner = asyncio.Runner(loop_factory=loop_factory)
        self.warm: Any = None

    def play(self, scene: Scene) -> list[str]:
        gc.collect() if scene.seed % 50 == 0 else None
        try:
            if scene.executor == "fake":
                from pipeframe_async.testing import run_virtual

                return run_virtual(self._fake(scene), limit=3600.0, seed=scene.seed if scene.seed % 2 else None)
            return self.runner.run(self._real(scene))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return [f"the test itself: {error!r}{_cause(error)}"]

    async def _fake(self, scene: Scene) -> list[str]:
        return await self._played(scene, FakeFrame(scene, **options(scene)))

    async def _real(self, scene: Scene) -> list[str]:
        if scene.executor != "processes":
            frame = PipeFrame(2, executor=scene.executor, **options(scene))
            if scene.consumer == "calls":
                async with frame:
                    return await self._played(scene, frame)
            return await self._played(scene, frame)
        if self.warm is None:
            self.warm = PipeFrame(2)
            await self.warm.__aenter__()
        if scene.consumer == "calls":
            return await self._played(scene, self.warm)
        frame = PipeFrame(2, **options(scene))  # its own limits, the warm frame's workers
        frame._warm, frame._process, frame._home = self.warm._warm, self.warm._process, self.warm._home
        return await self._played(scene, frame)

    async def _played(self, scene: Scene, frame: PipeFrame) -> list[str]:
        before = asyncio.all_tasks()
        play = Play(scene)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: UNSEEN.append(f"{told.get('message')}: {told.get('exception')!r}"))
        await play.act(frame)
        left = [] if scene.consumer == "calls" else await leftovers(before)  # the run behind calls stays open
        unseen, UNSEEN[:] = [f"nobody saw: {text}" for text in UNSEEN], []
        return play.check() + left + unseen

    def close(self) -> None:
        async def closing() -> None:
            if self.warm is not None:
                await self.warm.__aexit__(None, None, None)

        self.runner.run(closing())
        self.runner.close()


# -------------------------------------------------------------------------------------------------------- minimise


def smaller(scene: Scene) -> list[Scene]:
    """Scenes that are a little simpler."""
    found: list[Scene] = []
    size = len(scene.script)
    for parts in (2, 4, 8):
        if size >= parts:
            for k in range(parts):
                found.append(
                    replace(scene, script=scene.script[: k * size // parts] + scene.script[(k + 1) * size // parts :])
                )
    if size <= 12:
        found += [replace(scene, script=scene.script[:k] + scene.script[k + 1 :]) for k in range(size)]
    found += [
        replace(scene, steps=scene.steps[:k] + scene.steps[k + 1 :])
        for k in range(len(scene.steps))
        if len(scene.steps) > 1
    ]
    for k, spec in enumerate(scene.steps):
        for action, _ in spec.weights:
            if action != "go" and len(spec.weights) > 1:
                cut = replace(spec, weights=tuple((a, w) for a, w in spec.weights if a != action))
                found.append(replace(scene, steps=(*scene.steps[:k], cut, *scene.steps[k + 1 :])))
        if spec.mutates:
            found.append(replace(scene, steps=(*scene.steps[:k], replace(spec, mutates=False), *scene.steps[k + 1 :])))
    simple = {
        "form": "asyncgen",
        "source": "stream",
        "order": "completion",
        "key_raises": False,
        "retry": None,
        "time_limit": None,
        "async_concurrency": 64,
        "batch_size": None,
        "buffer_size": 1000,
        "buffer_bytes": 256 * 2**20,
        "max_failures": None,
        "dead_letter": "none",
        "consumer": "count",
        "slow": 0.0,
        "progress": "none",
        "ending": "none",
        "kills": 0,
        "executor": "inline",
    }
    for name, value in simple.items():
        if getattr(scene, name) != value:
            found.append(replace(scene, **{name: value}))
    if any(r.handle or r.pad for r in scene.records):
        found.append(
            replace(
                scene, records=tuple(replace(r, handle="", pad=0) if r.kind != "huge" else r for r in scene.records)
            )
        )
    return found


def minimise(
    players: Players, scene: Scene, wrong: list[str], *, tries: int = 3, seconds: float = 120.0
) -> tuple[Scene, list[str]]:
    """The smallest scene found that goes wrong in the same way (by the first words of what is wrong)."""
    sign, until = wrong[0][:14], time.monotonic() + seconds
    progress = True
    while progress and time.monotonic() < until:
        progress = False
        for candidate in smaller(scene):
            if time.monotonic() > until:
                break
            for _ in range(tries):
                fresh(candidate)
                found = players.play(candidate)
                if any(text.startswith(sign) for text in found):
                    scene, wrong, progress = candidate, found, True
                    break
            if progress:
                break
    return scene, wrong


def fresh(scene: Scene) -> None:
    """Forget the attempts that were counted."""
    marks = scene.steps[0].marks
    shutil.rmtree(marks, ignore_errors=True)
    os.makedirs(marks, mode=0o700, exist_ok=True)  # a worker that was given up may still be at it


# ------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="", help="N, or A:B")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--executor", default="all", help="all, or one of processes threads inline auto fake")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--minimise", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--most", type=int, default=20, help="stop after so many mismatches")
    given = parser.parse_args()
    first, last = given.start, 2**31
    if given.seed is not None:
        first, last = given.seed, given.seed + 1
    elif given.seeds:
        begin, colon, end = given.seeds.partition(":")
        first, last = (int(begin), int(end)) if colon else (given.start, given.start + int(begin))
    elif given.seconds is None:
        last = first + 200
    factory = None
    if given.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    kinds = (
        ["fake", "processes", "fake", "threads", "fake", "processes", "inline", "auto"]
        if given.executor == "all"
        else [given.executor]
    )
    players, bad, played = Players(factory), 0, Counter()
    root = tempfile.mkdtemp(prefix="differential-")
    began = time.monotonic()
    fds: list[int] = []
    try:
        for seed in range(first, last):
            if given.seconds is not None and time.monotonic() - began > given.seconds:
                break
            scene = draw_scene(seed, kinds[seed % len(kinds)], os.path.join(root, f"marks-{seed}"))
            fresh(scene)
            if given.show:
                print(scene.words())
            at = time.monotonic()
            wrong = players.play(scene)
            played[scene.executor] += 1
            if time.monotonic() - at > 25 and not wrong:
                wrong = [f"slow: it took {time.monotonic() - at:.1f} s"]
            fds.append(len(os.listdir("/proc/self/fd")))
            if not wrong:
                if given.show:
                    print("    as expected")
                continue
            bad += 1
            print(f"MISMATCH seed {seed} --executor {scene.executor}")
            for text in wrong[:4]:
                print(f"  ! {text[:6000]}")
            if given.minimise:
                scene, wrong = minimise(players, scene, wrong)
                print("  minimised:")
                for text in wrong[:3]:
                    print(f"  ! {text[:1500]}")
            print(scene.words(), flush=True)
            if bad >= given.most:
                print(f"stopped after {bad} mismatches")
                break
    finally:
        players.close()
        shutil.rmtree(root, ignore_errors=True)
    after = workers()
    if after:
        bad += 1
        print(f"MISMATCH processes left behind at the end: {after}")
    total = sum(played.values())
    print(
        f"{total} scenes ({', '.join(f'{n} {k}' for k, n in sorted(played.items()))}), "
        f"{bad} mismatches, {time.monotonic() - began:.0f} s; descriptors {fds[len(fds) // 4] if fds else 0} -> {fds[-1] if fds else 0}"
    )
    return 1 if bad else 0
