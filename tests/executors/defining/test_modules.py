"""Which modules of a program a worker can import, and what they say of themselves."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.defining.modules import (
    about,
    by_value,
    guarded,
    importable,
    needed,
    shipped,
    shipping,
)


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


# What goes by value because it is said.

OWN_SOURCE = "import json\ndef step(number): return FACTOR * number, True\nclass Order: pass\nFACTOR = 3\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of the program's, with a module inside."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text(OWN_SOURCE)
    (tmp_path / "own_package" / "inner.py").write_text(OWN_SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_package.inner")
    for name in ("own_package", "own_package.inner"):
        sys.modules.pop(name, None)


def test_a_module_goes_by_value_in_there_and_nowhere_else(own: ModuleType) -> None:
    assert not by_value("own_package.inner")
    with shipping(frozenset({"own_package"})):
        assert (by_value("own_package"), by_value("own_package.inner"), by_value("own_packages")) == (True, True, False)
        with shipping(frozenset()):
            assert not by_value("own_package")
        with ThreadPoolExecutor(1) as threads:
            assert not threads.submit(by_value, "own_package.inner").result()
    assert not by_value("own_package.inner")
    with shipping(frozenset({"own_package.inner"})):
        assert (by_value("own_package"), by_value("own_package.inner")) == (False, True)


def test_modules_are_named_by_themselves_or_by_their_names(own: ModuleType) -> None:
    assert shipped("ship_modules", [own, "own_package"]) == {"own_package", "own_package.inner"}
    assert shipped("ship_modules", ()) == frozenset()
    assert "own_package.other" not in sys.modules


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("own_package", "must be a list of modules, or of their names"),
        (json, "must be a list of modules, or of their names"),
        (None, "must be a list of modules, or of their names"),
        ([3], "3 is no module, and no name of one"),
        (["a b"], "'a b' is no module, and no name of one"),
        ([""], "'' is no module"),
        (["no_such_module.inner"], "there is no module 'no_such_module.inner' here"),
        (["json.decoder"], "'json.decoder' cannot go by value: workers have one of their own"),
        (["pipeframe_async"], "cannot go by value: workers have one of their own"),
    ],
)
def test_what_cannot_be_shipped_is_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        shipped("ship_modules", value)
    assert str(raised.value).startswith("ship_modules")
    assert says in str(raised.value)


def test_what_is_compiled_cannot_be_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = ModuleType("compiled_module")
    compiled.__file__ = "/there/compiled_module.so"
    monkeypatch.setitem(sys.modules, "compiled_module", compiled)
    with pytest.raises(ConfigError, match=r"it is compiled \(/there/compiled_module.so\)"):
        shipped("ship_modules", ["compiled_module"])


def test_what_workers_must_have_comes_neither_with_python_nor_with_the_library(own: ModuleType) -> None:
    assert needed("own_package.inner")
    assert not any(map(needed, ["json", "pipeframe_async.steps", "__main__", "not_loaded", None]))
