"""Files without a name: made, found by others of this host, and told from what is not them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeframe_async import unnamed
from pipeframe_async.errors import ConfigError, StateError
from pipeframe_async.unnamed import TOKEN_BYTES

pytestmark = pytest.mark.skipif(not unnamed.can_be_found(), reason="needs /proc")
TOKEN = bytes(range(TOKEN_BYTES))
OTHER = TOKEN[::-1]


@pytest.fixture
def file() -> Iterator[int]:
    fd = unnamed.make("pipeframe-test")
    os.write(fd, TOKEN + b"rest")
    yield fd
    os.close(fd)


@pytest.fixture
def without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)


def test_one_that_is_open_is_opened_anew_by_its_address(file: int) -> None:
    found = unnamed.opened(unnamed.address_of(file), TOKEN)
    assert (found != file, os.pread(found, 100, 0)) == (True, TOKEN + b"rest")
    os.close(found)


def test_another_process_opens_it_and_may_only_read(file: int) -> None:
    code = (
        "import os, sys; from pipeframe_async import unnamed\n"
        f"fd = unnamed.opened(unnamed.Address(*{tuple(unnamed.address_of(file))!r}), {TOKEN!r})\n"
        "print(os.pread(fd, 4, 16).decode(), os.get_inheritable(fd))\n"
        "os.write(fd, b'x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout.strip(), "Bad file descriptor" in done.stderr) == ("rest False", True)


def test_its_file_is_told_from_another_one_by_its_token(file: int) -> None:
    assert (unnamed.is_here(file, TOKEN), unnamed.is_here(file, OTHER)) == (True, False)


def test_a_descriptor_that_is_closed_or_no_file_has_no_token() -> None:
    reader, writer = os.pipe()
    os.write(writer, TOKEN)
    assert not unnamed.is_here(reader, TOKEN)
    os.close(writer)
    assert not unnamed.is_here(writer, TOKEN)
    os.close(reader)


def test_who_has_another_file_by_that_number_has_let_go_of_it(file: int) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StateError, match=f"process {os.getpid()} is not there any more: .* has let go of the handle"):
        unnamed.opened(unnamed.address_of(file), OTHER)
    assert os.listdir("/proc/self/fd") == before


def test_a_pipe_by_that_number_is_not_waited_for() -> None:
    reader, writer = os.pipe()
    with pytest.raises(StateError, match="not there any more"):
        unnamed.opened(unnamed.address_of(reader), TOKEN)
    os.close(reader)
    os.close(writer)


def test_a_process_that_is_gone_is_named(file: int) -> None:
    address = unnamed.address_of(file)._replace(pid=2**22 + 1)
    with pytest.raises(StateError, match=f"process {2**22 + 1} is not there any more: that process has ended"):
        unnamed.opened(address, TOKEN)


def test_one_of_another_host_is_refused_with_what_to_do(file: int) -> None:
    address = unnamed.address_of(file)._replace(host="far", kernel="another pid:[1]")
    with pytest.raises(ConfigError, match=r"on far cannot be read in process .*: they are on different hosts.*setup"):
        unnamed.opened(address, TOKEN)


def test_who_may_not_look_is_told_so(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(ConfigError, match=r"may not look into it: .*Permission denied.*same user"):
        unnamed.opened(unnamed.address_of(file), TOKEN)


def test_it_is_said_whether_there_is_memory_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unnamed.has_memfd() is hasattr(os, "memfd_create")

    def refused(name: str) -> int:
        raise PermissionError(name)

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    assert not unnamed.has_memfd()
    monkeypatch.delattr(os, "memfd_create")
    assert not unnamed.has_memfd()


@pytest.mark.usefixtures("without_memfd")
@pytest.mark.parametrize("memory", [unnamed.MEMORY, "/nowhere"])
def test_without_memfd_it_is_a_file_whose_name_is_gone(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnamed, "MEMORY", memory)
    fd = unnamed.make("pipeframe-test", 4096)
    os.write(fd, TOKEN)
    found = unnamed.opened(unnamed.address_of(fd), TOKEN)
    assert (os.fstat(fd).st_nlink, os.fstat(fd).st_size) == (0, 4096)
    assert os.path.samestat(os.fstat(fd), os.fstat(found))
    os.close(fd)
    os.close(found)


@pytest.mark.usefixtures("without_memfd")
def test_a_host_without_any_place_says_which_were_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnamed, "MEMORY", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="no memfd, no /nowhere, no directory"):
        unnamed.make("pipeframe-test")


def test_who_hides_what_it_has_open_cannot_be_found() -> None:
    code = (
        "import ctypes, os; from pipeframe_async import unnamed; print(unnamed.can_be_found())\n"
        "os.geteuid() or os.setuid(65534)\n"  # root is not hidden from
        "ctypes.CDLL(None).prctl(4, 0); print(unnamed.can_be_found())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout.split(), done.stderr) == (["True", "False"], "")
