"""What stands at a URL: a file by how its name ends, or what somebody has registered for its scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from pipeframe_async.compression import KINDS
from pipeframe_async.errors import ConfigError

SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".dead": "jsonl", ".csv": "csv", ".tsv": "tsv"}
"""What is in a file whose name ends so; in any other are lines of text."""


def opened(url: str, role: str, formats: Mapping[str, Callable[..., Any]], **options: Any) -> Any:
    """Make what a URL names.

    Args:
        url: see `feed_from` and `sink_to`.
        role: `"feed"` or `"sink"`; entry points for other schemes are in the group `pipeframe_async.{role}s`.
        formats: what is made for a file, by its format.
        options: passed on for a file.

    Raises:
        ConfigError: nobody knows the scheme.
    """
    scheme, found, rest = url.partition("://")
    if found and scheme != "file":
        return _registered(scheme, url, role, formats)
    path = rest if found else url
    kind, said, named = path.partition(":")
    if said and kind in formats:
        return formats[kind](named, **options)
    return formats[format_of(path)](path, **options)


def format_of(path: str) -> str:
    """What is in a file, by how its name ends; JSON lines in standard input and output."""
    if path == "-":
        return "jsonl"
    for suffix in KINDS.values():
        path = path.removesuffix(suffix)
    return next((kind for suffix, kind in SUFFIXES.items() if path.endswith(suffix)), "lines")


def _registered(scheme: str, url: str, role: str, formats: Mapping[str, Callable[..., Any]]) -> Any:
    points = entry_points(group=f"pipeframe_async.{role}s")
    for point in points:
        if point.name == scheme:
            return point.load()(url)
    known = [*(f"{kind}:PATH" for kind in formats), *sorted(f"{point.name}://" for point in points)]
    raise ConfigError(f"no {role} is known for {scheme}://, in {url!r}; there are paths, - and {', '.join(known)}")
