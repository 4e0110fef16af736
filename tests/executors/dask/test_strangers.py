"""Dask workers that cannot have lanes: they say so, stay as they are, and are left out where others fit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeframe_async import ConfigError, PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept, same

pytestmark = [pytest.mark.process, pytest.mark.one_loop]

Made = Callable[..., DaskCluster]

LIBRARIES = os.pathsep.join(path for path in sys.path if path)
_PYTHONS_OWN = (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("stdlib")) / "lib-dynload")
WITHOUT_PYTHONS_OWN = os.pathsep.join(
    path for path in sys.path if path and Path(path) not in _PYTHONS_OWN and not path.endswith(".zip")
)


def changed(folder: Path, package: str, version: str) -> dict[str, str]:
    """The environment of a worker that has this package in another version."""
    module = sys.modules[package]
    assert module.__file__ is not None
    shutil.copytree(Path(module.__file__).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / package / "__init__.py").open("a") as source:
        source.write(f"\n__version__ = {version!r}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), LIBRARIES])}


def without(folder: Path, package: str) -> dict[str, str]:
    """The environment of a worker that does not have this package."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(f"raise ImportError('No module named {package}')")
    return {"PYTHONPATH": os.pathsep.join([str(folder), LIBRARIES])}


async def test_workers_that_do_not_fit_are_named_before_anything_starts_and_left_out_where_others_fit(
    own: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from distributed import Client

    cluster = own(workers=0)
    strangers = {
        "none": without(tmp_path / "1", "pipeframe_async"),
        "other": changed(tmp_path / "2", "pipeframe_async", "99.1.0"),
        "pickles": changed(tmp_path / "3", "cloudpickle", "99.0.2"),
    }
    for name, environment in strangers.items():
        cluster.start_worker(name, environment=environment)
    for name in strangers:
        cluster.joined(name)
    refusals = [
        "it does not have pipeframe_async (No module named pipeframe_async): pip install it there",
        "it has pipeframe_async 99.1.0, and this program ",
        "it has cloudpickle 99.0.2, and this program 3",
    ]
    with pytest.raises(ConfigError) as raised:
        await PipeFrame(executor=cluster.address).run(Kept(same), range(10))
    said = str(raised.value)
    assert said.startswith("no Dask worker of this cluster can have lanes:\n")
    assert [refusal for refusal in refusals if refusal not in said] == []
    assert cluster.lanes() == set()
    async with Client(cluster.tcp, asynchronous=True, set_as_default=False) as client:
        assert await client.submit(len, "abc") == 3
        assert len((await client.scheduler.identity())["workers"]) == 3

    cluster.start_worker("fits")
    cluster.joined("fits")
    caplog.clear()
    await on_one_worker(cluster)
    assert [refusal for refusal in refusals if f"gets no lanes: {refusal}" not in caplog.text] == []


async def on_one_worker(cluster: DaskCluster) -> None:
    """Run something, which is to be on one lane."""
    pipeline = Kept(same)
    async with PipeFrame(executor=cluster.address) as frame:
        await frame.run(pipeline, range(500))
        assert pipeline.taken == list(range(500))
        assert [" on " in worker.name for worker in frame.stats().workers] == [True]
        assert len(cluster.lanes()) == 1


def other_pythons() -> Iterator[str]:
    """Interpreters of other minor versions, as far as there are any where one looks for them."""
    ours = f"python3.{sys.version_info.minor}"
    names = [f"python3.{minor}" for minor in range(10, 16)]
    yield from (found for name in names if name != ours and (found := shutil.which(name)))
    for root in (os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")):
        if root:
            yield from (str(path) for path in sorted(Path(root).glob("versions/3.*/bin/python3.*[0-9]")))


def other_python() -> str:
    """One that can be a Dask worker with the libraries of this one: most of them are plain Python."""
    for python in other_pythons():
        command = [python, "-c", "import distributed, sys; print(sys.version_info[1])"]
        tried = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": WITHOUT_PYTHONS_OWN}
        )
        if tried.returncode == 0 and tried.stdout.strip() != str(sys.version_info.minor):
            return python
    pytest.skip("no other Python is here that could be a Dask worker")


@pytest.mark.filterwarnings("ignore:Mismatched versions found")
async def test_a_worker_with_another_python_is_named_and_left_out_where_others_fit(
    own: Made, caplog: pytest.LogCaptureFixture
) -> None:
    python = other_python()
    cluster = own(workers=0)
    cluster.start_worker("python", python=python, environment={"PYTHONPATH": WITHOUT_PYTHONS_OWN})
    cluster.joined("python")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ConfigError, match="a warning of Dask's is an error in this program: VersionMismatchWarning"
        ):
            await PipeFrame(executor=cluster.address).run(Kept(same), range(10))
    with pytest.raises(ConfigError, match=r"it runs Python 3\.\d+\.\S+, and this program 3\.") as raised:
        await PipeFrame(executor=cluster.address).run(Kept(same), range(10))
    assert str(raised.value).count("it runs Python") == 1
    cluster.start_worker("fits")
    cluster.joined("fits")
    await on_one_worker(cluster)
    assert "gets no lanes: it runs Python 3." in caplog.text
