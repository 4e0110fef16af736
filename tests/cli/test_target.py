"""What `module:Pipeline` may be, where it is looked for, and what is said when it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Pipeframe, in_its_own_process


@pytest.mark.parametrize("name", ["Inverse", "needy"])
def test_a_class_or_an_instance_is_found_in_the_app_dir(name: str, pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("check", f"app:{name}", "--app-dir", app_dir)
    assert ending.code == 0, ending.err
    assert "is ready to run" in ending.out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("app", "'app' is not of the form module:Pipeline"),
        ("app:", "'app:' is not of the form module:Pipeline"),
        (":Inverse", "':Inverse' is not of the form module:Pipeline"),
        ("app:Inverse()", "'app:Inverse()' is not of the form"),
        ("app;import os:x", "is not of the form"),
        ("../app:Inverse", "names a file: write the module instead, app:Inverse --app-dir .."),
        ("app.py:Inverse", "'app.py:Inverse' names a file: write the module instead, app:Inverse --app-dir ."),
        ("app:Invrese", "module 'app' has no 'Invrese'; it has Inverse, WithZero"),
        ("app:number", "app:number is no pipeline but a int: name a subclass of PipelineEngine; it has Inverse"),
        ("app:PipelineEngine", "app:PipelineEngine is no pipeline"),
        ("json:Inverse", "module 'json' has no 'Inverse'; json has no pipeline at all"),
        ("app.orders:Inverse", "there is no module 'app.orders'"),
        ("appendix:Inverse", "there is no module 'appendix' among the installed ones"),
    ],
)
def test_a_target_that_is_none_is_a_usage_error(target: str, message: str, pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("check", target, "--app-dir", app_dir)
    assert ending.code == 2
    assert message in ending.err
    assert "Traceback" not in ending.err
    assert ending.out == ""


def test_a_module_is_not_looked_for_in_the_working_directory(
    pipeframe: Pipeframe, app_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(app_dir)
    ending = pipeframe("check", "app:Inverse")
    assert ending.code == 2
    assert "unless you say so: --app-dir ." in ending.err
    assert pipeframe("check", "app:Inverse", "--app-dir", ".").code == 0


@pytest.mark.process
def test_nor_is_it_by_python_dash_m(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("open('executed', 'w').close()")
    ending = in_its_own_process(tmp_path, "check", "app:Inverse")
    assert ending.code == 2
    assert "unless you say so: --app-dir ." in ending.err
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of directories mean nothing here")
def test_a_directory_that_everybody_may_write_to_is_refused(pipeframe: Pipeframe, app_dir: Path) -> None:
    (app_dir / "app.py").write_text("raise AssertionError('it was imported')")
    app_dir.chmod(0o777)
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir)
    assert ending.code == 2
    assert f"{app_dir} is writable for everybody" in ending.err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import appendix", "importing app failed: No module named 'appendix'"),
        ("x = 1 +", "importing app failed: SyntaxError: invalid syntax (app.py, line 1)"),
        ("1 / 0", "importing app failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "importing app failed: SystemExit: 0"),
    ],
)
def test_a_module_that_cannot_be_imported_is_an_error(
    source: str, message: str, pipeframe: Pipeframe, app_dir: Path
) -> None:
    (app_dir / "app.py").write_text(source)
    ending = pipeframe("check", "app:Inverse", "--app-dir", app_dir)
    assert ending.code == 1
    assert message in ending.err
    assert "Traceback" not in ending.err


def test_where_an_import_failed_is_shown_when_asked_for(pipeframe: Pipeframe, app_dir: Path) -> None:
    (app_dir / "app.py").write_text("1 / 0")
    assert "--traceback shows where" in pipeframe("check", "app:Inverse", "--app-dir", app_dir).err
    ending = pipeframe("check", "app:Inverse", "--app-dir", app_dir, "--traceback")
    assert ending.code == 1
    assert 'app.py", line 1, in <module>' in ending.err
