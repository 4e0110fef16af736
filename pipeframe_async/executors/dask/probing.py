"""Whether a Dask worker can have lanes: what it is asked before anything is started there, and what the answers say.

What is sent is text, and a function of Python's own that evaluates it: nothing of it has to be read by another Python,
or be there already. So a worker that has not got the library says so, instead of failing to read our code.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

Answer = Mapping[str, str]
"""Versions by name; `problem` where the library is there and cannot be used."""

SOURCE = """
import platform
found = {"python": platform.python_version()}
try:
    import cloudpickle
    found["cloudpickle"] = cloudpickle.__version__
except ImportError:
    pass
try:
    import pipeframe_async
    found["pipeframe_async"] = pipeframe_async.__version__
except ImportError as error:
    found["missing"] = str(error)
if found.get("pipeframe_async") == wanted:
    try:
        from pipeframe_async.executors.dask import host
        host.install()
    except Exception as error:
        found["problem"] = f"{type(error).__name__}: {error}"
"""


@dataclass(frozen=True, slots=True)
class Ours:
    """What is here, and has to be there."""

    python: str
    library: str
    cloudpickle: str

    @classmethod
    def here(cls) -> Ours:
        """Of this process."""
        library = sys.modules["pipeframe_async"].__version__  # the door of the house, which rooms do not import
        return cls(platform.python_version(), library, version("cloudpickle"))


def expression(library: str) -> str:
    """What a worker evaluates: an expression, since that is what `eval` takes."""
    return f"(lambda names: exec({SOURCE!r}, names) or names['found'])({{'wanted': {library!r}}})"


def misfit(answer: Answer | BaseException, ours: Ours) -> str:
    """Why a worker that has answered so cannot have lanes; empty where it can.

    Python has to be of the same minor version, since code of functions travels; the library the same; cloudpickle of
    the same major one.
    """
    if isinstance(answer, BaseException):
        return f"it could not be asked: {type(answer).__name__}: {answer}"
    if _minor(answer["python"]) != _minor(ours.python):
        return f"it runs Python {answer['python']}, and this program {ours.python}"
    if "pipeframe_async" not in answer:
        return f"it does not have pipeframe_async ({answer.get('missing', 'not found')}): pip install it there"
    if answer["pipeframe_async"] != ours.library:
        return f"it has pipeframe_async {answer['pipeframe_async']}, and this program {ours.library}"
    if _major(answer.get("cloudpickle", "")) != _major(ours.cloudpickle):
        return f"it has cloudpickle {answer.get('cloudpickle', 'not')}, and this program {ours.cloudpickle}"
    return f"pipeframe_async cannot be used there: {answer['problem']}" if "problem" in answer else ""


def refusal(misfits: Mapping[str, str]) -> str:
    """What to say where no worker fits."""
    lines = [f"  {address}: {why}" for address, why in sorted(misfits.items())]
    return "\n".join(["no Dask worker of this cluster can have lanes:", *lines])


def lacking(modules: Iterable[str]) -> str:
    """Why a worker gets no lanes that does not have modules."""
    return f"it does not have the module {', '.join(map(repr, sorted(modules)))}, which steps name"


def lacked(lacks: Mapping[str, Iterable[str]], misfits: Mapping[str, str]) -> str:
    """What to say where no worker that can have lanes has what steps name; `misfits`: why others cannot."""
    names = sorted({name for modules in lacks.values() for name in modules})
    tops = sorted({name.partition(".")[0] for name in names})
    lines = [f"  {address}: {lacking(modules)}" for address, modules in sorted(lacks.items())]
    remedy = f"install it there, upload it by client.upload_file(…), or send it along: PipeFrame(ship_modules={tops!r})"
    lines += [f"  {address} has no lanes: {why}" for address, why in sorted(misfits.items())]
    return "\n".join([f"no Dask worker with lanes has the module {', '.join(map(repr, names))}:", *lines, remedy])


def lease(key: str, max_batches: int | None, max_rss: int | None) -> str:
    """The task that holds a thread of a worker for a lane, as the expression that a worker evaluates."""
    module = "pipeframe_async.executors.dask.lease"
    return f"__import__({module!r}, fromlist=['hold']).hold({key!r}, {max_batches!r}, {max_rss!r})"


def _minor(text: str) -> list[str]:
    return text.split(".")[:2]


def _major(text: str) -> str:
    return text.partition(".")[0]
