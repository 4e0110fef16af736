"""What `--set name=value` makes of its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from pipeframe_async.cli.settings import apply_settings, known_settings
from tests.cli.app_source import Inverse
from tests.cli.conftest import Pipeframe


def after(*settings: str) -> Inverse:
    pipeline = Inverse()
    apply_settings(pipeline, settings)
    return pipeline


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("label=a=b c", "a=b c"),
        ("label=", ""),
        ("label=None", "None"),
        ("scale=3", 3),
        ("scale=-2.5", -2.5),
        ("scale=1_000", 1000),
        ("scale=None", None),
        ("timeout=10", 10),
        ("timeout=None", None),
        ("ratio=1", 1),
        ("careful=yes", True),
        ("careful=True", True),
        ("careful=0", False),
        ("place=/there", Path("/there")),
        ("names=['a', 'b']", ["a", "b"]),
        ("batch_size=20", 20),
        ("max_failures=0.1", 0.1),
        ("unset=plain text", "plain text"),
        ("nothing=3", 3),
        ("nothing=three", "three"),
        ("source=stream", "stream"),
    ],
)
def test_a_value_has_the_type_of_what_is_there(setting: str, value: object) -> None:
    found = getattr(after(setting), setting.partition("=")[0])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("label", "'label' is not of the form name=value"),
        ("scale=three", "scale=three: must be a number, or None"),
        ("scale=True", "scale=True: must be a number, or None"),
        ("scale='3'", "scale='3': must be a number, or None"),
        ("scale=__import__('os')", "scale=__import__('os'): must be a number, or None"),
        ("careful=perhaps", "careful=perhaps: must be true or false"),
        ("names=a", "names=a: must be a list, written as in Python"),
        ("names={}", "names={}: must be a list, written as in Python"),
        ("names=" + "[" * 10_000, "must be a list"),
        (
            "lable=x",
            "Inverse has no 'lable' to set; it has async_concurrency, batch_size, careful, label, max_failures",
        ),
        ("steps=[]", "Inverse has no 'steps' to set"),
        ("feed=[1]", "Inverse has no 'feed' to set"),
        ("sink=1", "Inverse has no 'sink' to set"),
        ("__class__=1", "Inverse has no '__class__' to set"),
    ],
)
def test_a_setting_that_is_wrong_is_refused(setting: str, message: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        after(setting)
    assert message in caught.value.message


def test_a_setting_changes_nobody_else() -> None:
    after("label=mine", "timeout=9")
    assert (Inverse.label, Inverse.timeout) == ("none", 2.0)


def test_attributes_of_the_instance_can_be_set_too() -> None:
    class Paged(Inverse):
        def __init__(self) -> None:
            self.pages = 3

    pipeline = Paged()
    apply_settings(pipeline, ["pages=7"])
    assert pipeline.pages == 7


def test_the_knobs_of_every_pipeline_are_known() -> None:
    knobs = {"source", "timeout", "order", "time_limit", "retry", "max_failures", "batch_size"}
    known: dict[str, Any] = known_settings(Inverse())
    assert knobs <= known.keys()


def test_an_unknown_name_is_a_usage_error(pipeframe: Pipeframe, app_dir: Path) -> None:
    ending = pipeframe("run", "app:Inverse", "--app-dir", app_dir, "--set", "lable=x")
    assert ending.code == 2
    assert "it has async_concurrency, batch_size, careful, label" in ending.err
