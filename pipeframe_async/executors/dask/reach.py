"""The client's talk with a cluster: who is there, a lease, a question to a Dask worker. It decides nothing.

A client of the user's may live on a loop of its own; what is asked through it is asked there. Batches go from this
loop straight to the workers, over connections of our own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client, Security
from distributed.core import ConnectionPool, rpc, send_recv

from pipeframe_async.errors import ConfigError
from pipeframe_async.executors.dask.at import Cluster
from pipeframe_async.executors.dask.probing import expression

T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""What a scheduler or a worker has to answer. An address where nobody is shows after it; a network that is worse than
that does not carry batches either."""
MOST_CONNECTIONS = 1024
"""To workers at once: two for each of 256 lanes, and those that ask."""


class Unreachable(OSError):
    """A worker could not be connected to: it was not given the message."""


@dataclass(frozen=True, slots=True)
class Member:
    """A Dask worker, as the scheduler sees it.

    `stays`: it is not on its way out. `begins`: it begins tasks; one that is out of memory pauses.
    """

    threads: int
    stays: bool
    begins: bool


class Reach:
    """A cluster within reach.

    Args:
        client: of Dask's.
        own: it was made here, and is closed with this.
    """

    def __init__(self, client: Any, *, own: bool) -> None:
        self._client = client
        self._own = own
        self._pool: Any = ConnectionPool(
            limit=MOST_CONNECTIONS, connection_args=client.connection_args, timeout=CONNECT_SECONDS
        )
        self._telling: set[asyncio.Task[Any]] = set()

    @classmethod
    async def to(cls, cluster: Cluster, patience: float) -> Reach:
        """Connect to a cluster; `patience`: seconds for which a scheduler that is away is waited for later on.

        Raises:
            ConfigError: no scheduler answers there; or the client is closed.
        """
        if cluster.address is None:
            if cluster.client.status != "running":
                raise ConfigError(f"executor={cluster.client!r}: this client is {cluster.client.status}")
            reach = cls(cluster.client, own=False)
        else:
            reach = cls(await _client(cluster.address, patience), own=True)
        await reach._pool.start()
        return reach

    @property
    def status(self) -> str:
        """Of the client: `"running"`, `"connecting"`, or that it is no more."""
        return str(self._client.status)

    async def members(self) -> dict[str, Member]:
        """The Dask workers there are, by address.

        Raises:
            OSError, TimeoutError: the scheduler does not answer.
        """

        async def asked() -> Any:
            if self._client.scheduler is None:
                raise OSError("the client has no scheduler")
            return await self._client.scheduler.identity()

        async with asyncio.timeout(CONNECT_SECONDS):
            info = await self._there(asked)
        return {address: _member(int(told["nthreads"]), told["status"]) for address, told in info["workers"].items()}

    async def probed(self, addresses: Iterable[str], library: str) -> dict[str, Mapping[str, str] | BaseException]:
        """What these workers answer to the first question; an error in place of one that could not be asked."""
        text, asked = expression(library), [*addresses]

        async def run() -> Any:
            return await self._client.run(eval, text, workers=asked, on_error="return", asynchronous=True)

        found: dict[str, Mapping[str, str] | BaseException] = await self._there(run)
        return found

    def lease(self, key: str, text: str, address: str) -> Any:
        """Have a worker evaluate what holds a thread of it. Returns Dask's future, which holds the lease."""
        return self._client.submit(
            eval, text, key=key, workers=[address], allow_other_workers=False, pure=False, retries=0
        )

    async def ask(self, address: str, op: str, **message: Any) -> dict[str, Any]:
        """Ask a handler of a worker.

        Raises:
            Unreachable: the worker cannot be connected to.
            OSError: it was lost before it had answered.
        """
        try:
            comm = await self._pool.connect(address)
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        try:
            answer = await send_recv(comm, op=f"pipeframe_{op}", **message)
        except TimeoutError as error:
            raise OSError(str(error)) from error
        finally:
            self._pool.reuse(address, comm)
        if not isinstance(answer, dict):
            raise OSError(f"{address} does not know {op!r}: it is another worker by now")
        return answer

    async def lacks(self, address: str, modules: Iterable[str]) -> list[str]:
        """Which of these modules a worker does not have.

        Raises:
            OSError: as `ask`.
        """
        answer = await self.ask(address, "lacks", modules=sorted(modules))
        return [*answer["modules"]]

    async def look(self, address: str, leases: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What a worker says of these leases; of none, where it is another one by now. An answer is a sign of life.

        Raises:
            OSError, TimeoutError: it cannot be connected to, or was lost.
        """
        comm = await self._pool.connect(address)
        try:
            answer = await send_recv(comm, op="pipeframe_look", leases=[*leases])
        finally:
            self._pool.reuse(address, comm)
        return answer if isinstance(answer, dict) else {}

    def tell(self, address: str, op: str, **message: Any) -> None:
        """The same, and nobody waits for an answer."""
        task = asyncio.get_running_loop().create_task(self._told(address, op, message))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, address: str, op: str, message: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):  # it is gone, or going
            await self.ask(address, op, **message)

    def forget(self, address: str) -> None:
        """A worker is no more: who waits for it is told so."""
        for comm in [*self._pool.occupied.get(address, ())]:
            comm.abort()  # `remove` would first wait until all is sent, which it never is to a host that is cut off
        self._pool.remove(address, reason="it is given up")

    def abandon(self) -> None:
        """Break all connections, where nobody can close them any more: its loop may be gone. That tells all others."""
        comms = [*self._pool.occupied.values(), *self._pool.available.values()]
        for comm in [comm for comms_there in comms for comm in comms_there]:
            comm.abort()
        if self._own and self._client.status != "closed":
            self._client.status = "closed"  # else it would try to close itself, on a loop that is gone
            if self._client.scheduler_comm is not None:
                self._client.scheduler_comm.abort()

    async def close(self) -> None:
        """Let go of it."""
        if self._telling:
            await asyncio.wait([*self._telling], timeout=1.0)
        for task in [*self._telling]:
            task.cancel()
        await self._pool.close()
        if self._own:
            with contextlib.suppress(OSError, TimeoutError):
                await self._client.close(timeout=CONNECT_SECONDS)

    async def _there(self, work: Callable[[], Awaitable[T]]) -> T:
        """Something that is done on the client's loop."""

        async def done() -> T:
            return await work()

        home = self._client.loop.asyncio_loop
        if home is asyncio.get_running_loop():
            return await done()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), home))


def _member(threads: int, status: str) -> Member:
    return Member(threads, stays=status in ("running", "paused"), begins=status == "running")


async def _begun(client: Any) -> Any:
    """A client that has begun; closed where it cannot."""
    try:
        return await client
    except BaseException:
        with contextlib.suppress(Exception):
            await client.close(timeout=CONNECT_SECONDS)
        raise


async def _client(address: str, patience: float) -> Any:
    """A client of our own, on this loop. Whether anybody is there is asked first: it would wait all its patience."""
    where, security = address.partition("://")[2], Security()  # of Dask's own configuration
    credentials = security.get_connection_args("client")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            async with rpc(address, timeout=CONNECT_SECONDS, connection_args=credentials) as scheduler:
                kind = (await scheduler.identity())["type"]
            if kind != "Scheduler":
                raise ConfigError(f"executor='dask://{where}': a Dask {kind.lower()} answers there, and no scheduler")
            return await _begun(
                Client(
                    address,
                    security=security,
                    asynchronous=True,
                    set_as_default=False,
                    timeout=patience,
                    name="pipeframe",
                )
            )
    except ConfigError:
        raise
    except Warning as warning:  # where the program makes errors of them: Dask warns of workers with other versions
        text = f"{type(warning).__name__}: {warning}"
        raise ConfigError(
            f"executor='dask://{where}': a warning of Dask's is an error in this program: {text}"
        ) from None
    except Exception as error:  # whatever answers there may be no Dask at all, or want other credentials
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigError(f"executor='dask://{where}': no Dask scheduler answers there ({text})") from error
