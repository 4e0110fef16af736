"""`docs/troubleshooting.md` has an entry for every text that the package can show, and for no other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import pytest

import pipeframe_async
from pipeframe_async import Checkpoint, ConfigError, Failure, PipeFrame, PipelineEngine, Retry, apply, run
from pipeframe_async.model import FailureKind
from tests.words.said import said, texts

PACKAGE = Path(pipeframe_async.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```\n(.*?)(?=^```|^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
LISTED = [line for block, _ in BLOCKS for line in block.splitlines()]


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    return said(PACKAGE)


def test_every_text_that_can_be_shown_has_its_entry(shown: dict[str, set[str]]) -> None:
    assert {text: sorted(modules) for text, modules in shown.items() if text not in LISTED} == {}


def test_no_entry_is_of_a_text_that_nobody_says_any_more(shown: dict[str, set[str]]) -> None:
    assert set(LISTED) - shown.keys() == set()


def test_each_text_stands_in_one_entry() -> None:
    assert [text for text, times in Counter(LISTED).items() if times > 1] == []


def test_each_entry_says_what_to_do() -> None:
    assert [block for block, told in BLOCKS if len(told.split()) < 5] == []


def test_each_kind_of_failure_is_told_by_its_verb() -> None:
    rows = dict(re.findall(r'^\| … ([a-z ]+) \| `"(\w+)"` \|', PAGE, re.MULTILINE))
    assert {
        kind: str(Failure(0, "s", kind, "E", "")).split("'s' ")[1].split(" E:")[0].rstrip(",") for kind in KINDS
    } == {kind: verb for verb, kind in rows.items()}


def test_each_bottleneck_is_told() -> None:
    """The beginnings of the sentences, as the code has them, and as the table has them."""
    source = (PACKAGE / "_rules" / "bottleneck.py").read_text("utf-8")
    outside = source.split("def _outside(")[1].split("\ndef ")[0]
    said_there = re.findall(r'"Bottleneck: ([a-z][a-z ]+)', source)
    said_there += re.findall(r'^\s+(?:\(usage\.\w+, )?f"([a-z][a-z ]+)', outside, re.MULTILINE)
    table = PAGE.split("\n## The bottleneck\n")[1].split("\n## ")[0]
    told = [
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)[1:]
        for name in re.findall(r"`([^`]+)`", row)
    ]
    assert [text for text in said_there if not text.startswith(tuple(told))] == []
    assert [name for name in told if name not in source] == []


class Squares(PipelineEngine[int, int]):
    steps = [apply(abs)]


class Listed(Squares):
    feed = "words"


class Empty(PipelineEngine[int, int]):
    steps = []
    feed = [1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PipeFrame(cpu_count=0),
        lambda: PipeFrame(buffer_size=True),
        lambda: PipeFrame(executor="proceses"),
        lambda: PipeFrame(monitor="0.0.0.0:0"),
        lambda: PipeFrame(health_file="/there/is/no/such/folder"),
        lambda: Retry(cast("Any", "3")),
        lambda: Checkpoint("job.state", every=-1),
        lambda: apply(cast("Any", 3)),
        lambda: run(Squares),
        lambda: run(Listed),
        lambda: run(Empty),
        lambda: run(Squares, [1], load=[2]),
        lambda: cast("Any", run)(Squares, [1], cpu_cuont=2),
        lambda: run(cast("Any", int)),
    ],
)
def test_what_a_user_is_shown_is_found_on_the_page(wrong: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        wrong()
    line = str(raised.value).split("\n")[0]
    entries = [text for text in LISTED if re.fullmatch(".*".join(map(re.escape, text.split("…"))), line)]
    assert [text for text in entries if len(text.replace("…", "")) > len(": must be ")], line


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise ConfigError('say more')", {"say more"}),
        ("raise ConfigError(f'{name}={value!r}: must be {what}{hint}')", {"…=…: must be …"}),
        ("raise StateError('it is ' + 'closed')", {"it is closed"}),
        ("return FeedError(f'the feed raised {error}')", {"the feed raised …"}),
        ("raise ValueError(f'first line\\n{rest}')", {"first line"}),
        ("logger.warning('%s has %d of %.1f', a, b, c)", {"… has … of …"}),
        ("raise ConfigError('open' if opened else 'closed')", {"open", "closed"}),
        ("def f():\n    why = f'{a} is gone'\n    raise WorkerLost(why)", {"… is gone"}),
        ("def why():\n    return 'it is full'\nraise OSError(why())", {"it is full"}),
        ("def bad(text):\n    return BadParameter(text)\nraise bad(f'{a} is bad')", {"… is bad"}),
        ("def no(what):\n    return ValueError(f'{a}, no {what}')\nraise no('room')", {"…, no room"}),
        ("Failure(record, message='it was too much')", {"it was too much"}),
        ("Failure(record, 'feed', 'poison', 'Poison', 'it came too often')", {"it came too often"}),
        ("GONE = 'it is gone'\ndef f():\n    raise StateError(GONE)", {"it is gone"}),
        ("raise StateError(why or 'it was closed')", {"it was closed"}),
        ("raise OSError(2, f'nobody listens at {path}')", {"nobody listens at …"}),
        ("def why(what):\n    return f'{what} for long'\nraise WorkerLost(why('no lane'))", {"no lane for long"}),
        ("logger.error('%s: %s', name, 'it is late')", {"…: it is late"}),
        ("sys.stderr.write(f'worker {pid} stays\\n')", {"worker … stays"}),
        ("click.echo('nothing to do', err=True)\nclick.echo('all is done')", {"nothing to do"}),
        ("raise InternalError('our bug')", set()),
        ("raise ConfigError(text)", set()),
        ("print('hello there')", set()),
    ],
)
def test_how_a_text_is_found_in_source(source: str, found: set[str]) -> None:
    assert texts(source) == found
