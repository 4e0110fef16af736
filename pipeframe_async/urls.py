"""What stands at a URL: a file by how its name ends, or what somebody has registered for its scheme."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode
from urllib.request import url2pathname

from pipeframe_async.compression import KINDS
from pipeframe_async.errors import ConfigError

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".dead": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""What is in a file whose name ends so; in any other are lines of text."""


SECRET = re.compile(
    r"(?P<before>://[^/?#@:]*:)[^/?#]*(?=@)"  # user:password@, also with an @ in it
    r"|(?P<token>(?:nats|tls|wss?)://)[^/?#@:,]+(?=@)"
    r"|(?P<option>\b\w*(?:password|token|secret)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^&#\s]+)",
    re.IGNORECASE,
)
"""What nobody must read in a log: passwords before the host, tokens of NATS, and options, also of libpq's own form."""


class Scheme(NamedTuple):
    """What a URL of a server makes: a module of the room, what is in it, and the options that have to be in the URL."""

    module: str
    name: str
    needed: tuple[str, ...] = ()


def opened(
    url: str | os.PathLike[str],
    role: str,
    formats: Mapping[str, Callable[..., Any]],
    schemes: Mapping[str, Scheme],
    **options: Any,
) -> Any:
    """Make what a URL names.

    Args:
        url: see `feed_from` and `sink_to`.
        role: `"feed"` or `"sink"`; entry points for other schemes are in the group `pipeframe_async.{role}s`.
        formats: what is made for a file, by its format.
        schemes: what is made for a server, by the URL's scheme.
        options: passed on for a file.

    Raises:
        ConfigError: nobody knows the scheme.
    """
    if isinstance(url, os.PathLike):
        url = os.fspath(url)
    if not isinstance(url, str):
        raise ConfigError(f"{url!r}: a {role} is named by a URL or a path, one text")
    scheme, found, rest = url.partition("://")
    if found and scheme in schemes:
        return _served(url, role, schemes[scheme])
    if found and scheme != "file":
        return _registered(scheme, url, role, [*(f"{kind}:PATH" for kind in formats), *(f"{it}://" for it in schemes)])
    path = url2pathname(rest) if found else url
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


def shown(url: str) -> str:
    """A URL without its password, for messages; also where it is a token, an option, or of no URL at all."""
    return SECRET.sub(lambda found: f"{found['before'] or found['token'] or found['option']}***", url)


def _served(url: str, role: str, scheme: Scheme) -> Any:
    """What stands at a server: the options that are ours are taken off the URL, which else is its client's."""
    make = getattr(import_module(f"pipeframe_async.{role}s.{scheme.module}"), scheme.name)
    before, _, query = url.rpartition("?")
    known = {it.name: str(it.annotation) for it in signature(make).parameters.values()}
    pairs = parse_qsl(query) if before else []
    ours = [(name, value) for name, value in pairs if name in known.keys() - {"url", "decode", "encode"}]
    options = {name: _read(value, known[name]) for name, value in ours}
    if missing := [name for name in scheme.needed if name not in options]:
        wanted = "&".join(f"{name}=…" for name in scheme.needed)
        raise ConfigError(f"the {role} {shown(url)!r} does not say its {', '.join(missing)}: write …?{wanted}")
    if not ours:
        return make(url)  # to the letter: what looks like a query may be part of an object's name
    theirs = urlencode([pair for pair in pairs if pair not in ours])
    return make(f"{before}?{theirs}" if theirs else before, **options)


def _read(value: str, annotation: str) -> Any:
    """A value of an option that is a text, texts with commas between them, a flag, a number, or none of these."""
    if "None" in annotation and value.lower() == "none":
        return None
    if "str" in annotation:
        return value.split(",") if "Sequence" in annotation else value
    if "bool" in annotation:
        return value.lower() in ("true", "1", "yes")
    try:
        return float(value) if "float" in annotation else int(value)
    except ValueError:
        return value  # refused by whom it is for, who knows what it must be


def _registered(scheme: str, url: str, role: str, known: list[str]) -> Any:
    points = entry_points(group=f"pipeframe_async.{role}s")
    for point in points:
        if point.name == scheme:
            return point.load()(url)
    known += sorted(f"{point.name}://" for point in points)
    raise ConfigError(
        f"no {role} is known for {scheme}://, in {shown(url)!r}; there are paths, - and {', '.join(known)}"
    )
