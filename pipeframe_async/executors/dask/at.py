"""Which cluster `executor=` names: an address, or a client of the user's. Looks only; nothing of Dask is loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from pipeframe_async.errors import ConfigError

TRANSPORTS = {"dask": "tcp", "dask+tls": "tls"}
"""What Dask calls the transport, by the scheme of our address."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the lanes are to be.

    Attributes:
        address: of the scheduler, as Dask writes it; None where there is a client.
        client: a `distributed.Client` of the user's, which is used and never closed.
    """

    address: str | None = None
    client: Any = None

    def __repr__(self) -> str:
        return repr(self.client) if self.address is None else repr(self.address)


def cluster_of(executor: object) -> Cluster | None:
    """The cluster that the knob's value names; None where it names something else.

    Raises:
        ConfigError: it is no address of a scheduler, or `distributed` is not installed.
    """
    if isinstance(executor, str):
        scheme, found, _ = executor.partition("://")
        return Cluster(address=_address(executor)) if found and scheme in TRANSPORTS else None
    library = sys.modules.get("distributed")  # who has made a client has loaded it
    if library is None:
        return None
    if isinstance(executor, getattr(library, "Client", ())):
        return Cluster(client=executor)
    pool = sys.modules.get("distributed.cfexecutor")  # what `get_executor` makes
    return Cluster(client=_client_of(executor)) if isinstance(executor, getattr(pool, "ClientExecutor", ())) else None


def _client_of(executor: Any) -> Any:
    """The client of an executor of Dask's: by tasks of its own each batch would go through the scheduler, and a record
    that kills its worker would be given to the next one.
    """
    if kept := sorted(executor._kwargs.keys() - {"pure", "retries"}):
        names = ", ".join(f"{name}=" for name in kept)
        raise ConfigError(
            f"executor={executor!r}: lanes cannot be kept to some of the workers ({names}); give executor=client"
        )
    return executor._client


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigError(
            f"executor={url!r}: must be 'dask://host:port', the address of a Dask scheduler (its usual port is 8786)"
        )
    if find_spec("distributed") is None:
        raise ConfigError(
            f"distributed is not installed, and executor={url!r} needs it: pip install 'pipeframe_async[dask]'"
        )
    return f"{TRANSPORTS[parts.scheme]}://{f'[{host}]' if ':' in host else host}:{port}"
