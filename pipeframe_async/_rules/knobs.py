"""Checks of single values: each says the knob's name, the value, what is allowed and what to do."""

from __future__ import annotations

from os import PathLike, fsencode
from pathlib import Path

from pipeframe_async.errors import ConfigError


def positive_int(name: str, value: object, *, hint: str = "") -> int:
    """An int of at least 1; a bool is not a count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be an int of at least 1{'; ' + hint if hint else ''}")
    return value


def seconds(name: str, value: object, *, hint: str = "") -> float:
    """A number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e300:
        raise ConfigError(f"{name}={value!r}: must be a number of seconds above 0{'; ' + hint if hint else ''}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}: must be True or False")
    return value


def one_of(name: str, value: object, allowed: tuple[str, ...], *, also: str = "") -> str:
    """One of some strings."""
    if not isinstance(value, str) or value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise ConfigError(f"{name}={value!r}: must be {choices}{' or ' + also if also else ''}")
    return value


def failure_limit(name: str, value: object) -> int | float | None:
    """`max_failures`: None, an int of at least 0, or a float ratio in (0, 1]."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and 0.0 < value <= 1.0:
        return value
    raise ConfigError(
        f"{name}={value!r}: must be an int of at least 0 (records), a float in (0, 1] (ratio), or None (any number)"
    )


def _names_a_file(path: Path) -> bool:
    try:
        fsencode(path)  # half a surrogate pair is in no name
        return path.name not in ("", "..") and "\0" not in str(path) and not path.is_dir()
    except (OSError, ValueError):
        return False


def path(name: str, value: object) -> Path:
    """The path of a file whose folder is there."""
    if not isinstance(value, (str, PathLike)) or not str(value):
        raise ConfigError(f"{name}={value!r}: must be the path of a file")
    wanted = Path(value)
    if not _names_a_file(wanted):
        raise ConfigError(f"{name}={str(value)!r}: must be the path of a file, and this is none")
    if not wanted.parent.is_dir():
        raise ConfigError(f"{name}={str(value)!r}: {wanted.parent} is no folder; make it first")
    return wanted
