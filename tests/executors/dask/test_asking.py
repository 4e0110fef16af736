"""Which modules a Dask worker does not have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeframe_async.executors.dask.asking import missing


def test_what_is_loaded_or_can_be_found_is_there() -> None:
    assert missing(["json", "os.path", "wsgiref.handlers", "pipeframe_async.frame"]) == []


def test_nothing_is_imported_that_can_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "package_here" / "inner.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing(["package_here", "package_here.inner"]) == []
    assert "package_here" not in sys.modules


def test_what_is_not_there_is_named_with_the_module_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package_there").mkdir()
    (tmp_path / "package_there" / "__init__.py").write_text("import sys\nsys.modules['package_there.made'] = sys")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing(["no_such.inner", "package_there.other"]) == ["no_such", "package_there.other"]
    assert missing(["package_there.made"]) == []


def test_a_package_that_cannot_be_imported_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_broken").mkdir()
    (tmp_path / "package_broken" / "__init__.py").write_text("raise ValueError('not now')")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing(["package_broken.made"]) == []
