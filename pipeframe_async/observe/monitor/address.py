"""Where the monitor listens: from what a user has said to a socket."""

from __future__ import annotations

import ipaddress
import socket
from importlib.util import find_spec
from typing import Final, Literal, NamedTuple

from pipeframe_async.errors import ConfigError, text_of

DEFAULT: Final = "127.0.0.1:8787"
NEEDED: Final = ("starlette", "uvicorn", "prometheus_client")


class Address(NamedTuple):
    """A host and a port, 0 for any that is free; and what requests must carry.

    Without a `token` only this machine may look, and False lets anybody.
    """

    host: str
    port: int
    token: str | Literal[False] | None = None


def address_of(monitor: str | bool, token: str | Literal[False] | None) -> Address | None:
    """Where to listen; None for nowhere.

    Raises:
        ConfigError: it is no address; it is not this machine's alone and nothing is asked of who looks; or what serves
            it is not installed.
    """
    if monitor is False:
        return None
    given = DEFAULT if monitor is True else monitor
    host, colon, port = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ConfigError(f'monitor={monitor!r}: must be "host:port", e.g. "{DEFAULT}"; port 0 takes any that is free')
    host = host.strip("[]") or "127.0.0.1"
    if token is not None and token is not False and not (isinstance(token, str) and token and token.isprintable()):
        raise ConfigError(
            f"monitor_token={type(token).__name__}: must be a string that is not empty, or False; without ends of "
            "lines and what else cannot be printed"
        )
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"monitor={monitor!r} can be reached from other machines: set monitor_token= to a secret that requests "
            "must carry, or to False where anybody who can reach it may look"
        )
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"monitor= needs {', '.join(missing)}: pip install 'pipeframe_async[monitor]'")
    if token is False and _is_loopback(host):
        token = None  # nobody else can look: another site's page must not, through a name of its own
    return Address(host, int(port), token)


def listening(address: Address) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: it cannot.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.getaddrinfo(
            address.host, address.port
        )  # of a host that can be none the next line leaves a socket behind
        return socket.create_server((address.host, address.port), family=family)
    except (OSError, TypeError, ValueError) as error:  # the latter of hosts that can be none
        raise ConfigError(
            f"monitor={address.host}:{address.port} cannot be listened at: {text_of(error)}. Port 0 takes any "
            "that is free, and frame.monitor_url says which"
        ) from error


def url_of(listens: socket.socket) -> str:
    """What a browser on this machine opens."""
    host, port, *_ = listens.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
