"""Nothing the engine starts may end in an error that nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_error_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    unseen = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
    unseen = [message for message in unseen if "never retrieved" in message or "Exception in callback" in message]
    assert not unseen
