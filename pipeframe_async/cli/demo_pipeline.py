"""The demo's pipeline: the Python sources of the running interpreter's standard library, measured.

An async feed walks the directories, the steps burn CPU in workers, the sink writes JSON lines and keeps a
ranking. `pipeframe demo` shows it; it is an ordinary pipeline, and can be run by its name as well.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import sysconfig
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from pipeframe_async.cli.demo_steps import FileMetrics, Function, count_tokens, measure, parse, read
from pipeframe_async.model import Failure
from pipeframe_async.pipeline_engine import PipelineEngine

STDLIB: Final = Path(sysconfig.get_path("stdlib"))
SKIPPED: Final = {"__pycache__", "site-packages", "dist-packages", "node_modules"}
TOP: Final = 10


class Ranking:
    """Totals, and the hardest functions and files, of all metrics it has been given. Holds no more than that."""

    def __init__(self) -> None:
        self.files = self.lines = self.code = self.functions = 0
        self.hardest_functions: list[tuple[Function, str]] = []
        self.hardest_files: list[FileMetrics] = []

    def add(self, metrics: list[FileMetrics]) -> None:
        """Take some more files into account."""
        self.files += len(metrics)
        self.lines += sum(file.lines for file in metrics)
        self.code += sum(file.code for file in metrics)
        self.functions += sum(file.functions for file in metrics)
        functions = [(function, file.path) for file in metrics for function in file.hardest]
        self.hardest_functions = heapq.nlargest(
            TOP, [*self.hardest_functions, *functions], key=lambda ranked: ranked[0].complexity
        )
        self.hardest_files = heapq.nlargest(TOP, [*self.hardest_files, *metrics], key=lambda file: file.complexity)


class StdlibMetrics(PipelineEngine[str, FileMetrics]):
    """Measures every Python file below a directory.

    Args:
        root: the directory; the running interpreter's standard library where None.
        limit: most files; None for all.
        output: where JSON lines go; a new temporary file, made when the run begins, where None.
    """

    steps = (read, count_tokens, parse, measure)
    source = "stream"
    timeout = None  # the walk ends by itself, and a slow disk is no reason to stop

    def __init__(self, root: Path | None = None, limit: int | None = None, output: Path | None = None) -> None:
        self.root = root or STDLIB
        self.limit = limit
        self.output = output
        self.ranking = Ranking()
        self.failures: list[Failure[str]] = []

    async def feed(self) -> AsyncIterator[str]:
        """Walk the directories."""
        self.output = Path(self.output or _temporary_file())
        self.output.write_bytes(b"")
        async for file in walked(self.root, self.limit):
            yield file

    def sink(self, metrics: list[FileMetrics]) -> None:
        """Write the files' metrics, one JSON object a line. A plain function: it runs in a thread."""
        assert self.output is not None  # the feed has seen to it
        with self.output.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(as_object(found, self.root))}\n" for found in metrics)
        self.ranking.add(metrics)

    async def dead_letter(self, failures: list[Failure[str]]) -> None:
        """Keep the files that could not be measured; the standard library has some that are broken on purpose."""
        self.failures += failures

    def name_of(self, path: str) -> str:
        """A path as it is shown: from the root."""
        return os.path.relpath(path, self.root)


async def walked(root: Path, limit: int | None) -> AsyncIterator[str]:
    """The Python files below a directory, in order, so many at most.

    Each directory is listed in a thread: a disk may take its time, the loop may not.
    """
    directories, found = [root], 0
    while directories:
        files, inner = await asyncio.to_thread(listed, directories.pop())
        directories += reversed(inner)
        for file in files:
            if found == limit:
                return
            yield file
            found += 1


def listed(directory: Path) -> tuple[list[str], list[Path]]:
    """The Python files of one directory, and the directories in it, sorted.

    Links to directories are not followed; a directory that may not be read is left out.
    """
    files: list[str] = []
    directories: list[Path] = []
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except PermissionError:
        return files, directories
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in SKIPPED and not entry.name.startswith("."):
                directories.append(Path(entry.path))
        elif entry.name.endswith(".py") and entry.is_file():
            files.append(entry.path)
    return files, directories


def as_object(metrics: FileMetrics, root: Path) -> dict[str, object]:
    """What was measured of a file, for JSON; its path from the root."""
    return {
        **metrics._asdict(),
        "path": os.path.relpath(metrics.path, root),
        "longest": metrics.longest and metrics.longest._asdict(),
        "hardest": [function._asdict() for function in metrics.hardest],
    }


def _temporary_file() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="pipeframe-demo-", suffix=".jsonl")
    os.close(descriptor)
    return Path(name)
