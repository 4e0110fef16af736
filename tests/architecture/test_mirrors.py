"""Every module of the inner rooms has a test module of its name at the mirrored place, to fail first when it breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import pipeframe_async

PACKAGE = Path(pipeframe_async.__file__).parent
TESTS = Path(__file__).parents[1]

MIRRORS: Final[dict[str, str]] = {
    "_engine": "engine",
    "_rules": "rules",
    "_worker": "worker",
    "executors": "executors",
}
"""Inner rooms, and where their tests are; rooms within them are mirrored by name."""


def missing(package: Path, tests: Path, room: str, mirror: str) -> list[str]:
    """The test modules that a room lacks, each as `module: where its tests should be`."""
    found = []
    for module in sorted((package / room).rglob("*.py")):
        inside = module.relative_to(package / room)
        expected = tests / mirror / inside.with_name(f"test_{inside.name.lstrip('_')}")
        if module.name != "__init__.py" and not expected.is_file():
            found.append(f"{room}/{inside.as_posix()}: {expected.relative_to(tests.parent).as_posix()}")
    return found


@pytest.mark.parametrize("room", MIRRORS)
def test_every_module_has_its_test_module(room: str) -> None:
    lacking = missing(PACKAGE, TESTS, room, MIRRORS[room])
    assert not lacking, "\n".join([f"{len(lacking)} modules of {room} have no test module:", *lacking])


def test_every_room_has_a_mirror() -> None:
    assert all((PACKAGE / room).is_dir() and (TESTS / mirror).is_dir() for room, mirror in MIRRORS.items())


# The law itself, on a small tree that breaks it.


def test_a_module_without_tests_is_named_with_the_place_they_belong(tmp_path: Path) -> None:
    package, tests = tmp_path / "package", tmp_path / "tests"
    for path in ("room/__init__.py", "room/a.py", "room/inner/__init__.py", "room/inner/b.py", "room/inner/c.py"):
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).touch()
    for path in ("room/test_a.py", "room/inner/test_c.py", "room/test_b.py"):
        (tests / path).parent.mkdir(parents=True, exist_ok=True)
        (tests / path).touch()
    assert missing(package, tests, "room", "room") == ["room/inner/b.py: tests/room/inner/test_b.py"]
