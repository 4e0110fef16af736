"""Which cluster `executor=` names."""

from __future__ import annotations

import pytest

from pipeframe_async import ConfigError, PipeFrame
from pipeframe_async.executors.dask import at
from pipeframe_async.executors.dask.at import Cluster, cluster_of


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether Dask is installed here or not, it is."""
    monkeypatch.setattr(at, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("dask://host:8786", "tcp://host:8786"),
        ("dask://host:8786/", "tcp://host:8786"),
        ("dask://127.0.0.1:1", "tcp://127.0.0.1:1"),
        ("dask://[::1]:8786", "tcp://[::1]:8786"),
        ("dask+tls://host:8786", "tls://host:8786"),
    ],
)
def test_an_address_is_that_of_a_scheduler(url: str, address: str) -> None:
    assert cluster_of(url) == Cluster(address=address)


@pytest.mark.parametrize("executor", ["processes", "tcp://host:8786", "dask", None, 3, object()])
def test_everything_else_is_no_cluster(executor: object) -> None:
    assert cluster_of(executor) is None


@pytest.mark.parametrize(
    "url", ["dask://", "dask://host", "dask://host:port", "dask://:8786", "dask://host:99999999", "dask://h:1/x"]
)
def test_an_address_that_is_none_is_refused_with_the_form_it_has(url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be 'dask://host:port'"):
        PipeFrame(executor=url)


def test_without_dask_the_pip_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'pipeframe_async\[dask\]'"):
        PipeFrame(executor="dask://host:8786")
