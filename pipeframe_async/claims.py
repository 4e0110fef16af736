"""Which files a run would read and write: none is two things at once."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pipeframe_async.errors import ConfigError


def check_files(pipeline: str, written: Mapping[str, Any], feed: Any) -> None:
    """That no two write one file, and that the feed reads none that grows meanwhile.

    Args:
        pipeline: its name.
        written: by role, what writes: an object that has a `path`, and in `writes` the files that grow.
        feed: what reads; where it has `paths`, these are files and globs.

    Raises:
        ConfigError: it is not so.
    """
    roles: dict[str, str] = {}
    growing: dict[str, str] = {}
    for role, value in written.items():
        grow = _files(getattr(value, "writes", ()))
        named = _files((getattr(value, "path", None),))
        for path in [*filter(_is_file, named), *grow]:
            other = roles.setdefault(os.path.realpath(path), role)
            if other != role:
                raise ConfigError(
                    f"{pipeline}.{other} and {pipeline}.{role} would both write {path}: give one of them another name"
                )
        growing |= dict.fromkeys(map(os.path.realpath, grow), role)
    for pattern in _files(getattr(feed, "paths", ())):
        for path, role in growing.items():
            if _finds(pattern, path):
                raise ConfigError(
                    f"the feed of {pipeline} reads {pattern!r}, and {pipeline}.{role} adds to {path} meanwhile: it "
                    "would not end. Write to another folder, or under another name"
                )


def _files(found: Any) -> Sequence[str]:
    if not isinstance(found, (tuple, list)):
        return ()
    return [os.fspath(path) for path in found if isinstance(path, (str, os.PathLike)) and path != "-"]


def _is_file(path: str) -> bool:
    """It is, or will be; a pipe or a device may be written by several."""
    return os.path.isfile(path) or not os.path.exists(path)


def _finds(pattern: str, path: str) -> bool:
    """Whether a path or glob is, or finds, a real path."""
    if not glob.has_magic(pattern):
        return os.path.realpath(pattern) == path
    folder, name = os.path.split(os.path.abspath(pattern))
    real = folder if glob.has_magic(folder) else os.path.realpath(folder)
    return _matches([*real.split(os.sep), name], path.split(os.sep))


def _matches(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    if not patterns or not parts:
        return not patterns and not parts
    if patterns[0] == "**":  # any number of folders
        return any(_matches(patterns[1:], parts[at:]) for at in range(len(parts)))
    return fnmatchcase(parts[0], patterns[0]) and _matches(patterns[1:], parts[1:])
