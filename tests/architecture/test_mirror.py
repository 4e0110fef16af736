"""Every module of the inner rooms has a test module of its name, at the mirrored place."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeframe_async

PACKAGE = Path(pipeframe_async.__file__).parent
TESTS = Path(__file__).parents[1]

MIRRORED = {"_rules": "rules", "_worker": "worker", "executors": "executors"}
"""Where the tests of each room are."""


@pytest.mark.parametrize("room", MIRRORED)
def test_every_module_has_a_test_module_of_its_name(room: str) -> None:
    modules = [path.relative_to(PACKAGE / room) for path in (PACKAGE / room).rglob("*.py") if path.stem != "__init__"]
    assert modules
    wanted = [TESTS / MIRRORED[room] / module.with_name(f"test_{module.name}") for module in modules]
    assert [str(path.relative_to(TESTS)) for path in sorted(wanted) if not path.exists()] == []
