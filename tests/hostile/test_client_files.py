"""The generated client's files when the disk does not do what it should (ACCEPTANCE H15)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Server
from ahtransport.client._files import write_file
from ahtransport.testing import fetch, memory_host

if TYPE_CHECKING:
    from pathlib import Path

NAME = "ActionheroWebsocketClient"
URL = f"/javascript/{NAME}.js"


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "browser client" in record.getMessage()]


async def served_from_memory(caplog: pytest.LogCaptureFixture, **options: Any) -> str:
    """Start a server that can't write; gives what it logged, once."""
    server = Server(config={}, port=0, **options)
    async with memory_host(server) as host:
        assert (await fetch(host.stream(), "GET", URL)).status == 200
    [complaint] = complaints(caplog)
    return complaint


# -- what can't be written


async def test_h15_a_file_stands_where_a_directory_should_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "javascript").write_bytes(b"a file")
    assert "served from memory" in await served_from_memory(caplog)
    assert (tmp_path / "public" / "javascript").read_bytes() == b"a file"


async def test_a_directory_stands_where_a_file_should_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "public" / "javascript"
    (folder / f"{NAME}.min.js").mkdir(parents=True)
    assert f"{NAME}.min.js" in await served_from_memory(caplog)
    # What came before it is there, nothing else is left behind.
    assert {path.name for path in folder.iterdir()} == {f"{NAME}.js", f"{NAME}.min.js"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
async def test_h15_a_directory_that_may_not_be_written_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public = tmp_path / "public"
    public.mkdir(mode=0o555)
    assert "Permission denied" in await served_from_memory(caplog)
    public.chmod(0o755)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    "error", [PermissionError(13, "no permission"), OSError(28, "no space"), OSError(30, "read-only")]
)
async def test_h15_whatever_fails_the_old_file_stays(
    call: str, error: OSError, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "public" / "javascript" / f"{NAME}.js"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(f"ahtransport.client._files.os.{call}", fail)
    assert str(error) in await served_from_memory(caplog)
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    assert old.read_bytes() == b"old"


async def test_h15_a_disk_that_hangs_holds_up_neither_start_nor_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "public").mkdir()
    begun, go_on = threading.Event(), threading.Event()

    def hang(descriptor: int) -> None:
        begun.set()
        go_on.wait(30)

    monkeypatch.setattr("ahtransport.client._files.os.fsync", hang)
    monkeypatch.setattr("ahtransport.client._browser.PATIENCE", 0.05)
    try:
        with trio.fail_after(10):
            async with memory_host(Server(config={}, port=0)) as host:
                while not begun.is_set():  # noqa: ASYNC110 - set by a thread
                    await trio.sleep(0.01)
                assert (await fetch(host.stream(), "GET", URL)).status == 200
    finally:
        go_on.set()


# -- a disk of its own: full, or read-only

ON_ITS_OWN_DISK = """
import logging, sys, trio
from ahtransport import Server
from ahtransport.testing import fetch, memory_host

async def main():
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("ahtransport").addHandler(handler)
    async with memory_host(Server(config={}, port=0, credentials=False)) as host:
        answer = await fetch(host.stream(), "GET", "/javascript/ActionheroWebsocketClient.min.js")
        assert answer.status == 200 and len(answer.body) > 5000, answer
    print(*records, sep="\\n")

trio.run(main)
"""


def on_its_own_disk(options: str, before: str = "true") -> list[str]:
    """Run a server whose public directory is a file system of its own; gives what it logged, and what is there."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    mount = f"mount -t tmpfs -o {options} tmpfs public"
    if subprocess.run(["unshare", "-rm", "sh", "-c", f"mkdir -p public && {mount}"], capture_output=True).returncode:
        pytest.skip("file systems can't be mounted here")
    command = f"{mount} && {before} && {sys.executable} -c '{ON_ITS_OWN_DISK}' && find public -type f"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_h15_a_full_disk(tmp_path: Path) -> None:
    logged, *files = on_its_own_disk("size=16k")
    assert logged.startswith("the browser client can't be written and is served from memory:")
    assert "No space left on device" in logged
    assert files == []


def test_h15_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    old = f"public/javascript/{NAME}.js"
    logged, *files = on_its_own_disk("size=16k", f"mkdir public/javascript && echo old > {old}")
    assert "No space left on device" in logged
    assert files == [old]


def test_h15_a_read_only_disk(tmp_path: Path) -> None:
    [logged] = on_its_own_disk("ro")
    assert "Read-only file system" in logged


# -- whole or not at all

CRASH = """
import os, signal, sys
from pathlib import Path
import ahtransport.client._files as files
setattr(files.os, sys.argv[2], lambda *args: os.kill(os.getpid(), signal.SIGKILL))
files.write_file(Path(sys.argv[1]), b"new" * 100000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_h15_a_crash_in_the_middle_leaves_the_old_file(call: str, tmp_path: Path) -> None:
    path = tmp_path / "client.js"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", CRASH, str(path), call], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.read_bytes() == b"old"
    assert write_file(path, b"new")
    assert path.read_bytes() == b"new"
    # What the crash left is hidden, and in nobody's way.
    assert all(one.name.startswith(".") for one in tmp_path.iterdir() if one != path)


def test_h15_two_servers_that_write_at_once_leave_one_of_their_files(tmp_path: Path) -> None:
    path = tmp_path / "client.js"
    contents = [b"a" * 300_000, b"b" * 200_000]
    write_file(path, contents[0])
    failures: list[BaseException] = []
    over = threading.Event()

    def write(first: int) -> None:
        try:
            for number in range(40):
                write_file(path, contents[(first + number) % 2])
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        while not over.is_set():
            if path.read_bytes() not in contents:
                failures.append(AssertionError("half a file"))
                return

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert not failures
    assert [one.name for one in tmp_path.iterdir()] == ["client.js"]


def test_a_file_that_is_the_same_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "client.js"
    assert write_file(path, b"one")
    before = path.stat()
    assert not write_file(path, b"one")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_file(tmp_path / "client.js", b"one")
    finally:
        os.umask(old)
    assert (tmp_path / "client.js").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.js").write_bytes(b"mine")
    (tmp_path / "client.js").symlink_to("elsewhere.js")
    assert write_file(tmp_path / "client.js", b"one")
    assert (tmp_path / "elsewhere.js").read_bytes() == b"mine"
    assert not (tmp_path / "client.js").is_symlink()
