"""Whole programs are run here, of several processes each: on a busy machine they take much longer than alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import SECONDS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS + 10))
