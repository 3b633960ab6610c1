"""The ``file`` verb: public files, and nothing else whatever it is called."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from action_bench import connect, make, running

NOT_FOUND = {"error": "that file is not found", "content": None, "mime": "text/html", "length": 22}


@pytest.fixture
def public(tmp_path: Path) -> Path:
    directory = tmp_path / "public"
    (directory / "deep").mkdir(parents=True)
    (directory / "simple.html").write_bytes("<h1>grüß</h1>\n".encode())
    (directory / "deep" / "index.html").write_text("index")
    (directory / "100%.txt").write_text("percent")
    (directory / "broken.txt").write_bytes(b"a\xffb")
    (directory / "empty.txt").write_bytes(b"")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "public-secret").mkdir()
    (tmp_path / "public-secret" / "secret.txt").write_text("secret")
    (directory / "out.txt").symlink_to(tmp_path / "secret.txt")
    (directory / "in.txt").symlink_to(directory / "simple.html")
    os.mkfifo(directory / "fifo")
    return directory


async def test_a_file_comes_with_what_is_known_about_it(public: Path) -> None:
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        client.send({"event": "file", "file": "simple.html", "messageId": 11})
        reply = await client.next()
        assert list(reply) == ["content", "mime", "length", "lastModified", "context", "messageId"]
        modified = reply.pop("lastModified")
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", modified)
        assert reply == {
            "content": "<h1>grüß</h1>\n",
            "mime": "text/html",
            "length": 16,
            "context": "response",
            "messageId": 11,
        }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("/simple.html", "<h1>grüß</h1>\n"),
        ("public/simple.html", "<h1>grüß</h1>\n"),
        ("in.txt", "<h1>grüß</h1>\n"),
        ("deep", "index"),
        ("100%.txt", "percent"),
        ("broken.txt", "a\ufffdb"),
        ("empty.txt", ""),
    ],
)
async def test_names_of_files(public: Path, name: str, content: str) -> None:
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        assert (await client.ask("file", file=name))["content"] == content


async def test_a_missing_file_has_an_error_of_its_length(public: Path) -> None:
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        client.send({"event": "file", "file": "missing.html", "messageId": 12})
        reply = await client.next()
        assert list(reply) == ["error", "content", "mime", "length", "context", "messageId"]
        assert reply == {**NOT_FOUND, "context": "response", "messageId": 12}


@pytest.mark.parametrize("name", [None, "", 0, False, "absent"])
async def test_a_file_is_required(public: Path, name: Any) -> None:
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        fields = {} if name == "absent" else {"file": name}
        reply = await client.ask("file", **fields)
        assert (reply["error"], reply["content"]) == ("file is a required param to send a file", None)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "../public-secret/secret.txt",
        "deep/../../secret.txt",
        "....//secret.txt",
        "..\\secret.txt",
        "deep\\..\\..\\secret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2fsecret.txt",
        "%252e%252e/secret.txt",
        "..%c0%afsecret.txt",
        "..%00/secret.txt",
        "simple.html\0",
        "\0",
        "out.txt",
        "fifo",
        "/etc/hostname",
        "//etc/hostname",
        "/dev/zero",
        "file:///etc/hostname",
        "C:\\Windows\\win.ini",
        "CON",
        "SIMPLE.HTML",
        "\uff53imple.html",
        "simple.html/",
        "simple.html/..",
        "simple.html ",
        "simple.html.",
        "simple%2ehtml",
        "x" * 5000,
        "\ud800",
        5,
        ["simple.html"],
        {"a": 1},
        [],
        True,
    ],
)
async def test_e9_everything_else_is_not_found_in_the_same_words(public: Path, name: Any) -> None:
    if name == "SIMPLE.HTML" and (public / "SIMPLE.HTML").exists():
        pytest.skip("this file system does not tell the case apart")
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        reply = await client.ask("file", file=name)
        assert reply == NOT_FOUND
        assert (await client.ask("detailsView"))["status"] == "OK"


async def test_e9_an_absolute_path_is_not_found(public: Path) -> None:
    async with running(make(public=[str(public)])) as server:
        client = await connect(server)
        assert await client.ask("file", file=str(public.parent / "secret.txt")) == NOT_FOUND


async def test_e9_a_file_that_is_too_large_is_not_read(public: Path) -> None:
    with (public / "large.bin").open("wb") as file:
        file.truncate(5 * 2**30)  # sparse
    (public / "just.txt").write_text("x" * 100)
    (public / "over.txt").write_text("x" * 101)
    async with running(make(public=[str(public)], max_file=100)) as server:
        client = await connect(server)
        assert (await client.ask("file", file="just.txt"))["length"] == 100
        for name in ("large.bin", "over.txt"):
            reply = await client.ask("file", file=name)
            assert reply["error"] == "that file is too large to be sent as a message"
            assert (reply["content"], reply["length"]) == (None, len(reply["error"]))


async def test_files_come_from_the_first_directory_that_has_them(public: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "simple.html").write_text("second")
    (second / "only.txt").write_text("only")
    async with running(make(public=[str(public), str(second), "nowhere"])) as server:
        client = await connect(server)
        assert (await client.ask("file", file="simple.html"))["length"] == 16
        assert (await client.ask("file", file="only.txt"))["content"] == "only"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs files that are larger than they say")
async def test_e9_a_file_that_grows_while_it_is_read_is_cut_off() -> None:
    async with running(make(public=["/proc/self"], max_file=100)) as server:
        client = await connect(server)
        reply = await client.ask("file", file="status")
        assert reply["error"] == "that file is too large to be sent as a message"
