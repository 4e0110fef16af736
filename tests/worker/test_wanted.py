"""What the parent wants, as plain Python decides it, and how a worker follows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pipeframe_async._worker.wanted import NEVER, Mirror, Wanted


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    root = logging.root
    level, handlers, disabled = root.level, [*root.handlers], root.manager.disable
    known = {*root.manager.loggerDict}
    root.handlers.clear()
    root.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.disable(disabled)
    for name in {*root.manager.loggerDict} - known:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled = True, False
        del root.manager.loggerDict[name]
    root.manager._clear_cache()  # type: ignore[attr-defined]


def handler(logger: logging.Logger, level: int = logging.NOTSET) -> None:
    taker = logging.NullHandler() if level < 0 else logging.Handler()
    taker.setLevel(max(level, 0))
    logger.addHandler(taker)


def least(name: str) -> int:
    """The least level that a worker would send of this logger."""
    mirror = Mirror()
    mirror.adopt(Wanted.here())
    return next((level for level in range(0, 70, 10) if mirror.takes(name, level)), NEVER)


def test_without_any_handler_it_is_the_last_resort_that_takes_warnings() -> None:
    logging.root.handlers.clear()  # pytest's own, which are there since the test began
    assert least("app") == logging.WARNING
    logging.root.setLevel(logging.DEBUG)
    assert least("app") == logging.WARNING
    handler(logging.root, -1)  # one that does nothing: not even the last resort
    assert least("app") == NEVER


def test_the_level_of_the_nearest_logger_holds() -> None:
    handler(logging.root)
    logging.getLogger("app").setLevel(logging.INFO)
    logging.getLogger("app.loud").setLevel(logging.DEBUG)
    assert (least("other"), least("app"), least("app.new"), least("app.loud.new")) == (30, 20, 20, 10)
    assert least("application") == 30


def test_what_no_handler_takes_is_not_wanted() -> None:
    logging.root.handlers.clear()
    handler(logging.root, logging.ERROR)
    logging.root.setLevel(logging.DEBUG)
    assert least("app") == logging.ERROR
    handler(logging.getLogger("app"), logging.INFO)
    assert least("app.new") == logging.INFO
    logging.getLogger("app").propagate = False
    handler(logging.root, logging.NOTSET)
    assert (least("app"), least("other")) == (logging.INFO, logging.NOTSET + 10)


def test_a_logger_that_is_off_is_off_alone() -> None:
    handler(logging.root)
    logging.getLogger("app").disabled = True
    assert (least("app"), least("app.new")) == (NEVER, logging.WARNING)


def test_before_anything_was_heard_nothing_is_wanted() -> None:
    assert not Mirror().takes("app", logging.CRITICAL)


def wanted(disabled: int = 0, filters: tuple[Any, ...] = (), **levels: int) -> Wanted:
    loggers = [("", levels.pop("root", 30), 30, False)]
    loggers += [(name, level, level, False) for name, level in levels.items()]
    return Wanted(disabled, tuple(loggers), filters)


def test_levels_of_the_parent_are_this_processs_until_they_change_there() -> None:
    mirror = Mirror()
    mirror.adopt(wanted(root=20, app=10))
    assert (logging.root.level, logging.getLogger("app").level) == (20, 10)
    assert logging.getLogger("app.new").isEnabledFor(logging.DEBUG)
    mirror.adopt(wanted(disabled=40))
    assert (logging.root.level, logging.getLogger("app").level) == (30, 0)
    assert not logging.getLogger("app.new").isEnabledFor(logging.ERROR)


def test_a_level_that_setup_has_given_stays() -> None:
    mirror = Mirror()
    mirror.adopt(wanted(app=20))
    logging.getLogger("app").setLevel(logging.DEBUG)
    mirror.adopt(wanted(app=40))
    with mirror.importing():
        pass
    assert logging.getLogger("app").level == logging.DEBUG


def test_a_level_that_a_module_sets_as_it_is_imported_is_the_parents_again() -> None:
    mirror = Mirror()
    mirror.adopt(wanted(app=40))
    with mirror.importing():
        logging.getLogger("app").setLevel(logging.DEBUG)
        logging.root.setLevel(logging.DEBUG)
        logging.getLogger("unknown").setLevel(logging.DEBUG)
    levels = [logging.getLogger(name).level for name in (None, "app", "unknown")]
    assert levels == [logging.WARNING, logging.ERROR, logging.DEBUG]


def test_filters_of_warnings_come_as_they_are_and_an_error_is_shown() -> None:
    warnings.resetwarnings()
    warnings.filterwarnings("error", "care.*", RuntimeWarning, r"app\.")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    taken, mirror = Wanted.here(), Mirror()
    warnings.resetwarnings()
    mirror = Mirror()
    mirror.adopt(taken)
    found: list[Any] = [*warnings.filters]
    actions = [(action, category) for action, _, category, _, _ in found]
    assert actions == [("ignore", DeprecationWarning), ("default", RuntimeWarning)]
    assert (found[1][1].pattern, found[1][3].pattern) == ("care.*", r"app\.")


def test_an_error_that_was_said_to_the_interpreter_is_one_in_workers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.warnoptions", ["error::UserWarning"])
    warnings.simplefilter("error", UserWarning)
    assert ("error", "", ("builtins", "UserWarning"), "", 0) in Wanted.here().filters


def test_filters_that_setup_has_set_stay() -> None:
    mirror = Mirror()
    mirror.adopt(wanted(filters=(("ignore", "", ("builtins", "UserWarning"), "", 0),)))
    warnings.simplefilter("always")
    mirror.adopt(wanted(filters=(("once", "", ("builtins", "UserWarning"), "", 0),)))
    assert warnings.filters[0][0] == "always"


def test_a_filter_of_a_category_that_is_not_here_is_left_out() -> None:
    mirror = Mirror()
    mirror.adopt(
        wanted(filters=(("ignore", "", ("nowhere", "Odd"), "", 0), ("once", "x", ("builtins", "Warning"), "", 0)))
    )
    assert [made[0] for made in warnings.filters] == ["once"]
