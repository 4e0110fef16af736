"""Finds the code blocks of a Markdown page and says what is to be run. Reads text, runs nothing.

An HTML comment on the line above a block steers it:

    <!-- snippet: continues -->            goes on where the python block before it ended
    <!-- snippet: file NAME.py -->         its script has this name, and the page's commands find it
    <!-- snippet: skip REASON -->          is not run
    <!-- types: skip REASON -->            is not given to type checkers; above the other comment, where it has one
    <!-- snippet: of LIBRARY -->           is another library's, for comparison: it compiles, and is not run

A line of its own says of the whole page

    <!-- page: one folder -->              its scripts and commands run one after the other, in one folder

A block whose language stands in braces is for the site only, e.g. {toctree}, and is not run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*|\{[\w-]+\}.*?)\s*$")
TYPES = re.compile(r"^ *<!-- types: skip (?P<reason>.*?) -->\s*$")
STEER = re.compile(r"^ *<!-- snippet: (?P<verb>\w+)(?P<rest>.*?) -->\s*$")

ONE_FOLDER = "<!-- page: one folder -->"

PIPEFRAME = ("$ pipeframe ", "$ python -m pipeframe_async ", "$ python3 -m pipeframe_async ")
"""How the lines of a `console` block begin that are run."""


class PageError(ValueError):
    """The page is written wrong: where, and what to do."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block as it stands on the page."""

    line: int
    language: str
    text: str
    verb: str = ""
    rest: str = ""
    untyped: str = ""


@dataclass(slots=True)
class Script:
    """Python blocks that run as one file. `name` is empty where the page gives none.

    `untyped`: why no type checker sees it; empty where they do.
    """

    line: int
    name: str = ""
    text: str = ""
    untyped: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One `pipeframe` command line, as the arguments after the program's name."""

    line: int
    arguments: tuple[str, ...]


@dataclass(slots=True)
class Page:
    """What one page asks to be run."""

    scripts: list[Script] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    skipped: list[Block] = field(default_factory=list)
    others: list[Block] = field(default_factory=list)
    one_folder: bool = False

    def in_order(self) -> list[Script | Command]:
        """What is run, as it stands on the page."""
        return sorted([*self.scripts, *self.commands], key=lambda shown: shown.line)


def read_page(text: str) -> Page:
    """Sort the blocks of a page into scripts, commands and what is skipped.

    Raises:
        PageError: a comment that steers nothing or says what it cannot, or a fence that is never closed.
    """
    page = Page(one_folder=ONE_FOLDER in text.splitlines())
    for block in blocks(text):
        if block.verb == "skip":
            page.skipped.append(_with_reason(block))
        elif block.verb == "of":
            page.others.append(_compiled(block))
        elif block.language == "python":
            _add_python(page, block)
        elif block.verb:
            raise PageError(f"line {block.line}: only python blocks are steered by {block.verb!r}")
        elif block.language == "console":
            page.commands.extend(_commands(block))
    return page


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, each with the comment just above it."""
    lines = text.splitlines()
    steer: re.Match[str] | None = None
    untyped = ""
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            if steer is not None:
                raise PageError(f"line {at}: a snippet comment must stand just above a block")
            steer = _steer(lines[at], at + 1)
            if untyped and steer is None:
                raise PageError(f"line {at}: a comment on types must stand just above a block, or its snippet comment")
            untyped = untyped or _untyped(lines[at], at + 1)
            at += 1
            continue
        end = _end_of(lines, at, fence["indent"])
        body = [line.removeprefix(fence["indent"]) for line in lines[at + 1 : end]]
        verb, rest = (steer["verb"], steer["rest"].strip()) if steer else ("", "")
        yield Block(at + 1, fence["language"], "\n".join([*body, ""]), verb, rest, untyped)
        steer, untyped = None, ""
        at = end + 1
    if steer is not None or untyped:
        raise PageError(f"line {at}: a snippet comment must stand just above a block")


def _steer(line: str, number: int) -> re.Match[str] | None:
    steer = STEER.match(line)
    if steer is None and "<!-- snippet" in line:
        raise PageError(f"line {number}: not a snippet comment: {line.strip()}")
    return steer


def _untyped(line: str, number: int) -> str:
    """The reason for which a block is not given to type checkers."""
    if "<!-- types" not in line:
        return ""
    found = TYPES.match(line)
    if found is None or len(found["reason"].split()) < 2:
        raise PageError(f"line {number}: a block without types needs its reason, in words: <!-- types: skip REASON -->")
    return found["reason"]


def _end_of(lines: list[str], start: int, indent: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].rstrip() == f"{indent}```":
            return at
    raise PageError(f"line {start + 1}: this block is never closed")


def _with_reason(block: Block) -> Block:
    if len(block.rest.split()) < 2:
        raise PageError(f"line {block.line}: a skipped block needs its reason, in words")
    return block


def _compiled(block: Block) -> Block:
    if block.language != "python" or not re.fullmatch(r"[\w.]+", block.rest):
        raise PageError(f"line {block.line}: `of` names the one library that the python block is for")
    try:
        compile(block.text, "<page>", "exec")
    except SyntaxError as error:
        raise PageError(f"line {block.line}: {error}") from error
    return block


def _add_python(page: Page, block: Block) -> None:
    match block.verb:
        case "":
            page.scripts.append(Script(block.line, "", block.text, block.untyped))
        case "file":
            if not re.fullmatch(r"[a-z_][a-z0-9_]*\.py", block.rest):
                raise PageError(f"line {block.line}: {block.rest!r} is no name for a script")
            page.scripts.append(Script(block.line, block.rest, block.text, block.untyped))
        case "continues":
            if not page.scripts:
                raise PageError(f"line {block.line}: there is no python block to continue")
            page.scripts[-1].text += "\n" + block.text
            page.scripts[-1].untyped = page.scripts[-1].untyped or block.untyped
        case _:
            raise PageError(f"line {block.line}: a block cannot {block.verb!r}")


def _commands(block: Block) -> Iterator[Command]:
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        start = next((start for start in PIPEFRAME if f"{line} ".startswith(start)), None)
        if start is not None:
            yield Command(number, tuple(shlex.split(f"{line} "[len(start) :], comments=True)))


def readme_command(text: str, name: str) -> str:
    """The one line of the block that `<!-- command: NAME -->` stands above.

    Raises:
        PageError: there is not exactly one such block, or it has more than one line.
    """
    found = re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(found) != 1 or found[0].count("\n") != 1:
        raise PageError(f"the README needs one command marked {name!r}, of one line")
    return str(found[0]).strip()


def pages(root: Path) -> list[Path]:
    """The README, and every page below `docs/`."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
