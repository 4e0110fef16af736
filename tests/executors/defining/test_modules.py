"""Which modules of a program a worker can import, and what they say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeframe_async.executors.defining.modules import about, by_value, guarded, importable


def test_only_what_no_finder_finds_is_by_value(program: ModuleType) -> None:
    assert by_value("__main__")
    assert by_value(program.__name__)
    for name in ("json", "json.decoder", "sys", "os.path", "cloudpickle.cloudpickle", __name__, "no_such", None):
        assert not by_value(name), name


def test_a_part_of_something_compiled_is_importable() -> None:
    numpy = pytest.importorskip("numpy")
    assert not by_value(numpy.random.mtrand.__name__)
    assert not by_value(type(numpy.add).__module__)


def test_a_module_that_hides_an_importable_one_is_by_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = ModuleType("json")
    other.__file__ = str(tmp_path / "json.py")
    Path(other.__file__).touch()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "json", other)
        assert by_value("json")
    assert sys.modules["json"] is json
    assert not by_value("json")


def test_what_is_in_an_importable_module_under_its_name_is_importable(program: ModuleType) -> None:
    assert importable(json.loads)
    assert not importable(program.noted)
    assert not importable(lambda: None)


def test_modules_say_where_they_are_from(program: ModuleType) -> None:
    told = about({program.__name__})
    assert told[program.__name__]["__file__"] == program.__file__
    assert "__main__" in told


@pytest.mark.parametrize(
    ("source", "may"),
    [
        ("run()", False),
        ("if __name__ == '__main__':\n    run()", True),
        ('if "__main__" == __name__:\n    run()', True),
        ("# if __name__ == '__main__':", False),
    ],
)
def test_a_main_module_with_a_guard_may_be_run_again(
    source: str, may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / "job.py")
    Path(main.__file__).write_text(source, "utf-8")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert guarded() is may


def test_a_main_module_without_a_file_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert not guarded()
