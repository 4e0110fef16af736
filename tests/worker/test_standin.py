"""Modules that are made of what was sent: what is there, what is missed, and when they are in `sys.modules`."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeframe_async._worker import standin
from pipeframe_async._worker.standin import StandIns


def named(name: str) -> Any:
    return type(name, (), {"__module__": "__main__", "__qualname__": name})


def test_what_was_put_there_is_found_by_its_name() -> None:
    place, order = StandIns(), named("Order")
    place.put(("__main__", "Order"), order)
    assert place.find("__main__", "Order") is order
    assert vars(place.module("__main__"))["Order"] is order
    assert place.name_of(order) == ("__main__", "Order")


def test_a_name_of_ours_is_no_attribute_of_the_module() -> None:
    place, order = StandIns(), named("Order")
    place.put(("__main__", "<1>"), order)
    assert place.find("__main__", "<1>") is order
    assert "<1>" not in vars(place.module("__main__"))


def test_what_is_not_there_is_noted_and_told() -> None:
    place = StandIns()
    for name in ("Order", "<1>"):
        with pytest.raises(AttributeError):
            place.find("__main__", name)
    assert not hasattr(place.module("__main__"), "__wrapped__")  # who asks for such a name looks for a feature
    assert place.wanted(ModuleNotFoundError("no module", name="job")) == "__main__\t<1>\n__main__\tOrder\njob\t"


def test_what_is_refused_says_why_and_is_not_asked_for_again() -> None:
    place = StandIns()
    place.refused.update({("__main__", "Order"): "has a socket", ("__main__", "<1>"): "too", ("job", ""): "no file"})
    with pytest.raises(pickle.PicklingError, match="has a socket"):
        place.find("__main__", "Order")
    with pytest.raises(pickle.PicklingError, match="too"):
        place.find("__main__", "<1>")
    assert place.wanted(ModuleNotFoundError("no module", name="job")) == ""


def test_stand_ins_are_in_sys_modules_while_they_are_at_work() -> None:
    place, before = StandIns(), sys.modules["__main__"]
    with standin.at_work(place, keep=False):
        assert sys.modules["__main__"] is sys.modules["__mp_main__"] is place.module("__main__")
        assert standin.active() is place
        job = place.module("job")
        assert sys.modules["job"] is job
    assert sys.modules["__main__"] is before
    assert "job" not in sys.modules
    assert standin.active() is None


def test_a_lane_keeps_them_until_another_chain_comes() -> None:
    first, second, before = StandIns(), StandIns(), sys.modules["__main__"]
    with standin.at_work(first, keep=True):
        pass
    assert sys.modules["__main__"] is first.module("__main__")
    with standin.at_work(second, keep=False):
        assert sys.modules["__main__"] is second.module("__main__")
    assert sys.modules["__main__"] is before


def test_threads_with_different_chains_take_turns() -> None:
    first, second, begun, done = StandIns(), StandIns(), threading.Event(), []

    def other() -> None:
        begun.set()
        with standin.at_work(second, keep=False):
            done.append(sys.modules["__main__"] is second.module("__main__"))

    with standin.at_work(first, keep=False), standin.at_work(first, keep=False):
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait()
        assert not done
    thread.join()
    assert done == [True]


def test_the_file_of_a_script_is_shown_to_children_only_where_it_has_a_guard() -> None:
    place = StandIns()
    main = place.module("__main__")
    place.describe({"__main__": {"__file__": "/a/script.py"}}, guarded=False)
    assert vars(main)["__file__"] == "/a/script.py"  # for the functions of the script
    assert getattr(main, "__file__", None) is None
    place.describe({}, guarded=True)
    assert main.__file__ == "/a/script.py"


def test_a_class_has_the_name_its_module_knows_it_by_or_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    module, order, other = ModuleType("a_module"), named("Order"), named("Order")
    order.__module__ = other.__module__ = "a_module"
    monkeypatch.setitem(sys.modules, "a_module", module)
    module.__dict__["Order"] = order
    assert standin.class_name(order) == "Order"
    token = standin.class_name(other)
    assert token.startswith(standin.UNNAMED)
    assert token == standin.class_name(other)
    assert standin.find("a_module", token) is other
    assert standin.find("a_module", "Order") is order


def test_a_forked_child_is_another_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "home", before := standin.home)
    standin._moved()
    assert standin.home != before


def test_a_submodule_of_a_stand_in_is_imported_as_of_any_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late.py").write_text("here = 1")
    package = ModuleType("standing_in")
    package.__path__ = [str(tmp_path)]
    package.__spec__ = standin.NoSpec()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "standing_in", package)
    try:
        assert importlib.import_module("standing_in.late").here == 1
        assert standin.NoSpec._uninitialized_submodules == []
        with pytest.raises(ModuleNotFoundError, match="standing_in"):
            importlib.import_module("standing_in.never")
    finally:
        sys.modules.pop("standing_in.late", None)
