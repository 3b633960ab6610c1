"""Files below the public directories: ACCEPTANCE E9, G7, G8."""

from __future__ import annotations

import gc
import os
import socket
import sys
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ahtransport._http import Request, Response
from ahtransport._web import files
from ahtransport._web.conditional import http_date
from ahtransport._web.files import FoundFile, StaticFiles, find_file, serve_file
from ahtransport._web.mime import content_type, mime_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SIMPLE = b"<h1>Actionhero</h1>\n"
MODIFIED = 1_700_000_000
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A public directory, with secrets around it."""
    root = tmp_path / "public"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".well-known").mkdir()
    (root / "index.html").write_bytes(b"<h1>Index</h1>")
    (root / "simple.html").write_bytes(SIMPLE)
    (root / "sub" / "index.html").write_bytes(b"<h1>Sub</h1>")
    (root / "sub" / "deep" / "data.json").write_bytes(b"{}")
    (root / ".well-known" / "security.txt").write_bytes(b"Contact: x")
    (root / ".env").write_bytes(b"SECRET=1")
    (root / "100%.txt").write_bytes(b"percent")
    (root / "schön 1.txt").write_bytes(b"name")
    (tmp_path / "public-secret").mkdir()
    (tmp_path / "public-secret" / "secret.txt").write_bytes(b"secret")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    for path in root.rglob("*"):
        os.utime(path, (MODIFIED, MODIFIED))
    return root


def get(path: str = "/simple.html", method: str = "GET", **headers: str) -> Request:
    return Request(method, path, [(name.replace("_", "-"), value) for name, value in headers.items()])


def header(response: Response, name: str) -> str | None:
    values = [value for field, value in response.headers if field.lower() == name.lower()]
    assert len(values) <= 1
    return values[0] if values else None


async def body(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("simple.html", "simple.html"),
        ("/simple.html", "simple.html"),
        ("/public/simple.html", "simple.html"),
        ("public/simple.html", "simple.html"),
        ("//simple.html", "simple.html"),
        ("/%73imple.html", "simple.html"),
        ("", "index.html"),
        ("/", "index.html"),
        ("/public", "index.html"),
        ("/public/", "index.html"),
        ("/index.html", "index.html"),
        ("/sub", "sub/index.html"),
        ("/sub/", "sub/index.html"),
        ("/public/sub/deep/data.json", "sub/deep/data.json"),
        ("/100%.txt", "100%.txt"),
        ("/100%25.txt", "100%.txt"),
        ("/sch%C3%B6n%201.txt", "schön 1.txt"),
        ("/.well-known/security.txt", ".well-known/security.txt"),
    ],
)
def test_what_is_found(public: Path, path: str, name: str) -> None:
    found = find_file([public], path)
    assert found is not None
    assert found.path == (public / name).resolve()
    assert found.size == (public / name).stat().st_size
    assert found.mtime == MODIFIED


NOT_FOUND = [
    "/missing.html",
    "/empty",
    "/empty/",
    "/simple.html/",
    "/simple.html/x",
    "..",
    "../",
    "/..",
    "/../secret.txt",
    "../secret.txt",
    "/public/../../secret.txt",
    "/sub/../simple.html",
    "/sub/../../secret.txt",
    "/./simple.html",
    "/%2e%2e/secret.txt",
    "/%2E%2e%2fsecret.txt",
    "/..%2fsecret.txt",
    "/.%2e/secret.txt",
    "/..%5csecret.txt",
    "..\\secret.txt",
    "/sub\\..\\..\\secret.txt",
    "....//secret.txt",
    "/..../secret.txt",
    "/..;/secret.txt",
    "/;/../secret.txt",
    "/%252e%252e/secret.txt",
    "/../public-secret/secret.txt",
    "/-secret/secret.txt",
    "-secret/secret.txt",
    "//etc/hostname",
    "/etc/hostname",
    "///etc/hostname",
    "%2fetc%2fhostname",
    "/public//etc/hostname",
    "file:///etc/hostname",
    "~/secret.txt",
    "~root",
    "/simple.html%00",
    "/simple.html\0.png",
    "/%00",
    "\0",
    "/simple.html%0a",
    "/simple\r\n.html",
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%af..%c0%afsecret.txt",
    "/%e0%80%ae%e0%80%ae/secret.txt",
    "/%f0%80%80%ae/secret.txt",
    "/%ff",
    "/%ed%a0%80",
    "/\ud800",
    "/\uff0e\uff0e/secret.txt",
    "/\u2025/secret.txt",
    "/simple.html\u202e",
    "/.env",
    "/%2eenv",
    "/.",
    "/...",
    "/simple.html.",
    "/simple.html ",
    "/simple.html%20",
    "/simple.html::$DATA",
    "/C:/secret.txt",
    "/c:secret.txt",
    "/CON",
    "/con.txt",
    "/NUL.html",
    "/com1",
    "/LPT9.tar.gz",
    "/simple.htm?",
    "/simpl*.html",
    "/" + "a" * 256,
    "/" + "a/" * 2000 + "b",
    "a" * 100_000,
    "/PUBLIC/simple.html",
]


@pytest.mark.parametrize("path", NOT_FOUND)
async def test_e9_g7_g8_what_is_not_found(public: Path, path: str) -> None:
    assert find_file([public], path) is None
    response = await StaticFiles([public])(get(path if "?" not in path else path.replace("?", "%3F")))
    missing = await StaticFiles([public])(get("/missing.html"))
    assert (response.status, response.headers, response.body) == (404, missing.headers, missing.body)
    assert header(response, "X-Content-Type-Options") == "nosniff"


@needs_posix
def test_e9_g8_links_and_special_files(public: Path, tmp_path: Path) -> None:
    (public / "out.txt").symlink_to(tmp_path / "secret.txt")
    (public / "outdir").symlink_to(tmp_path / "public-secret")
    (public / "outindex").mkdir()
    (public / "outindex" / "index.html").symlink_to(tmp_path / "secret.txt")
    (public / "up").symlink_to("..")
    (public / "self").symlink_to(".")
    (public / "loop").symlink_to("loop")
    (public / "dangling").symlink_to("nowhere")
    (public / "null").symlink_to("/dev/null")
    (public / "in.html").symlink_to("simple.html")
    (public / "indir").symlink_to("sub")
    os.mkfifo(public / "fifo")
    (public / "indexdir" / "index.html").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(public)  # the path of a UNIX socket has to be short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        refused = ["out.txt", "outdir/secret.txt", "outdir", "outindex", "up", "up/secret.txt"]
        refused += ["loop", "dangling", "null", "fifo", "fifo/", "socket", "indexdir", "indexdir/index.html"]
        for path in refused:
            assert find_file([public], f"/{path}") is None, path
    for path in ("in.html", "self/simple.html"):
        found = find_file([public], f"/{path}")
        assert found is not None
        assert found.path.name == "simple.html"
    for path in ("indir", "indir/", "indir/index.html", "self/self/sub"):
        found = find_file([public], path)
        assert found is not None
        assert found.path.parent.name == "sub"


@needs_posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_not_found(public: Path) -> None:
    (public / "simple.html").chmod(0)
    assert find_file([public], "/simple.html") is None


def test_the_first_directory_that_has_it_wins(public: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "simple.html").write_text("other")
    (other / "more.html").write_text("more")
    directories: list[Path | str] = [tmp_path / "missing", public, str(other)]
    for path, parent in (("/simple.html", public), ("/more.html", other)):
        found = find_file(directories, path)
        assert found is not None
        assert found.path.parent == parent.resolve()


@given(path=st.text(alphabet="./\\%25ecf0a:~;\0 public", max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_g8_nothing_outside_is_ever_found(public: Path, path: str) -> None:
    found = find_file([public], path)
    assert found is None or found.path.is_relative_to(public.resolve())


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mime", "header"),
    [
        ("a.html", "text/html", "text/html; charset=utf-8"),
        ("a.HTML", "text/html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript", "text/javascript; charset=utf-8"),
        ("a.min.js", "text/javascript", "text/javascript; charset=utf-8"),
        ("a.d.ts", "text/plain", "text/plain; charset=utf-8"),
        ("a.json", "application/json", "application/json"),
        ("a.png", "image/png", "image/png"),
        ("a.tar.gz", "application/gzip", "application/gzip"),
        ("a", "application/octet-stream", "application/octet-stream"),
        ("a.unknown", "application/octet-stream", "application/octet-stream"),
    ],
)
def test_types(name: str, mime: str, header: str) -> None:
    assert mime_of(name) == mime
    assert content_type(mime) == header


# --- serving ---------------------------------------------------------------------------------------------------------


async def test_a_file(public: Path) -> None:
    response = await StaticFiles([public])(get())
    assert response.status == 200
    assert await body(response) == SIMPLE
    assert response.length == len(SIMPLE)
    assert header(response, "Content-Type") == "text/html; charset=utf-8"
    assert header(response, "Cache-Control") == "max-age=60"
    assert header(response, "Last-Modified") == formatdate(MODIFIED, usegmt=True)
    assert header(response, "Accept-Ranges") == "bytes"
    assert header(response, "X-Content-Type-Options") == "nosniff"
    assert header(response, "Access-Control-Allow-Origin") == "*"
    etag = header(response, "ETag")
    assert etag is not None
    assert etag[0] == etag[-1] == '"'


async def test_what_may_be_configured(public: Path) -> None:
    response = await StaticFiles([public], 0.0, allow_origin=None)(get())
    assert header(response, "Cache-Control") == "max-age=0"
    assert header(response, "Access-Control-Allow-Origin") is None
    response = await StaticFiles([public], allow_origin="https://a.example")(get("/missing"))
    assert header(response, "Access-Control-Allow-Origin") == "https://a.example"


async def test_the_same_file_under_both_prefixes(public: Path) -> None:
    one, other = [await StaticFiles([public])(get(path)) for path in ("/simple.html?x=1", "/public/simple.html")]
    assert (one.headers, one.body) == (other.headers, other.body)


@pytest.mark.parametrize("path", ["/simple.html", "/"])
async def test_head_is_get_without_the_body(public: Path, path: str) -> None:
    serve = StaticFiles([public])
    asked, told = await serve(get(path)), await serve(get(path, "HEAD"))
    assert (told.status, told.headers, told.length) == (200, asked.headers, asked.length)
    assert await body(told) == b""
    assert (await serve(get("/missing", "HEAD"))).status == 404
    ranged = await serve(get(path, "HEAD", Range="bytes=0-1"))
    assert (ranged.status, ranged.length) == (200, asked.length)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND"])
async def test_other_methods(public: Path, method: str) -> None:
    for path in ("/simple.html", "/missing"):
        response = await StaticFiles([public])(get(path, method))
        assert response.status == 405
        assert header(response, "Allow") == "GET, HEAD"
        assert header(response, "X-Content-Type-Options") == "nosniff"


async def test_the_etag_changes_with_the_file(public: Path) -> None:
    serve = StaticFiles([public])
    before = header(await serve(get()), "ETag")
    (public / "simple.html").write_bytes(SIMPLE[::-1])
    after = header(await serve(get()), "ETag")
    assert before != after
    assert header(await serve(get()), "ETag") == after


BEFORE, SAME, AFTER = (formatdate(MODIFIED + shift, usegmt=True) for shift in (-1, 0, 1))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "ETAG"}, 304),
        ({"If-None-Match": "W/ETAG"}, 304),
        ({"If-None-Match": '"a", ETAG , "b"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"a"'}, 200),
        ({"If-None-Match": "garbage"}, 200),
        ({"If-None-Match": '"a"', "If-Modified-Since": SAME}, 200),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "Tue Nov 14 22:13:20 2023"}, 304),
        ({"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:19 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": ""}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 99999 00:00:00 GMT"}, 200),
        ({"If-Match": "ETAG"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": "W/ETAG"}, 412),
        ({"If-Match": '"a"'}, 412),
        ({"If-Unmodified-Since": SAME}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Match": "ETAG", "If-Unmodified-Since": BEFORE}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditional_requests(public: Path, method: str, headers: dict[str, str], status: int) -> None:
    serve = StaticFiles([public])
    etag = header(await serve(get()), "ETag") or ""
    fields = [(name, value.replace("ETAG", etag)) for name, value in headers.items()]
    response = await serve(Request(method, "/simple.html", fields))
    assert response.status == status
    assert header(response, "ETag") == etag
    assert header(response, "X-Content-Type-Options") == "nosniff"
    if status == 304:
        assert response.body == b""
        assert header(response, "Cache-Control") == "max-age=60"
        assert header(response, "Content-Type") is None


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=0-", 206, 0, 20),
        ("bytes=5-9", 206, 5, 10),
        ("BYTES=5-9", 206, 5, 10),
        ("bytes= 5-9 ", 206, 5, 10),
        ("bytes=19-", 206, 19, 20),
        ("bytes=0-99", 206, 0, 20),
        ("bytes=10-" + "9" * 5000, 206, 10, 20),
        ("bytes=-1", 206, 19, 20),
        ("bytes=-20", 206, 0, 20),
        ("bytes=-99", 206, 0, 20),
        ("bytes=-" + "9" * 5000, 206, 0, 20),
        ("bytes=20-", 416, 0, 0),
        ("bytes=20-30", 416, 0, 0),
        ("bytes=" + "9" * 5000 + "-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, 20),
        ("bytes=99-50", 200, 0, 20),
        ("bytes=-", 200, 0, 20),
        ("bytes=", 200, 0, 20),
        ("bytes=a-b", 200, 0, 20),
        ("bytes=+1-2", 200, 0, 20),
        ("bytes=\u0661-\u0662", 200, 0, 20),
        ("bytes=0-1,3-4", 200, 0, 20),
        ("lines=0-1", 200, 0, 20),
        ("0-1", 200, 0, 20),
        ("", 200, 0, 20),
    ],
)
async def test_ranges(public: Path, wanted: str, status: int, start: int, end: int) -> None:
    response = await StaticFiles([public])(get(Range=wanted))
    assert response.status == status
    if status == 416:
        assert header(response, "Content-Range") == "bytes */20"
        assert response.length == 0
        return
    assert await body(response) == SIMPLE[start:end]
    assert response.length == end - start
    assert header(response, "Content-Range") == (f"bytes {start}-{end - 1}/20" if status == 206 else None)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("ETAG", 206),
        (SAME, 206),
        ("W/ETAG", 200),
        ('"a"', 200),
        ('ETAG, "a"', 200),
        (BEFORE, 200),
        (AFTER, 200),
        ("yesterday", 200),
    ],
)
async def test_if_range(public: Path, condition: str, status: int) -> None:
    serve = StaticFiles([public])
    etag = header(await serve(get()), "ETag") or ""
    assert (await serve(get(Range="bytes=0-1", If_Range=condition.replace("ETAG", etag)))).status == status


async def test_an_empty_file(public: Path) -> None:
    (public / "empty.txt").write_bytes(b"")
    serve = StaticFiles([public])
    response = await serve(get("/empty.txt"))
    assert (response.status, await body(response), response.length) == (200, b"", 0)
    assert (await serve(get("/empty.txt", Range="bytes=0-"))).status == 416


@pytest.mark.parametrize("modified", [-1, 0, 2**33])
async def test_odd_times(public: Path, modified: int) -> None:
    os.utime(public / "simple.html", (modified, modified))
    response = await StaticFiles([public])(get(If_Modified_Since=AFTER))
    assert response.status in (200, 304)


def test_a_date_that_no_header_can_tell() -> None:
    assert http_date(1e20) is None


@dataclass
class Settings:
    path: str = "/"
    expires: float = 3600.0


@dataclass
class Fingerprint:
    cookie_key: str = "sessionID"
    to_set_cookie: bool = True
    settings: Settings = field(default_factory=Settings)


PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/simple.html"])
async def test_g9_a_browser_that_opens_a_page_gets_its_fingerprint(public: Path, path: str) -> None:
    serve = StaticFiles([public], fingerprint=Fingerprint())
    request = get(path, **PAGE)
    response = await serve(request)
    [(name, value)] = request.response_headers
    assert name == "Set-Cookie"
    assert value.startswith("sessionID=")
    assert header(response, "Cache-Control") == "private, max-age=60"
    again = get(path, **PAGE, Cookie=value.partition(";")[0])
    assert header(await serve(again), "Cache-Control") == "max-age=60"
    assert again.response_headers == []


@pytest.mark.parametrize(
    ("path", "headers", "fingerprint"),
    [
        ("/simple.html", {}, Fingerprint()),
        ("/simple.html", {"Accept": "*/*"}, Fingerprint()),
        ("/sub/deep/data.json", PAGE, Fingerprint()),
        ("/missing.html", PAGE, Fingerprint()),
        ("/simple.html", PAGE, Fingerprint(to_set_cookie=False)),
        ("/simple.html", PAGE, None),
    ],
)
async def test_everything_else_sets_no_cookie(
    public: Path, path: str, headers: dict[str, str], fingerprint: Fingerprint | None
) -> None:
    request = get(path, **headers)
    response = await StaticFiles([public], fingerprint=fingerprint)(request)
    assert request.response_headers == []
    assert header(response, "Cache-Control") in ("max-age=60", None)


# --- large files -----------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture
def large(public: Path) -> Path:
    """Five sparse gigabytes with something at either end."""
    path = public / "large.bin"
    with path.open("wb") as file:
        file.write(b"begin")
        file.seek(5 * 2**30 - 3)
        file.write(b"end")
    return path


@needs_posix
async def test_e9_a_large_file_is_sent_in_pieces(public: Path, large: Path) -> None:
    serve = StaticFiles([public])
    before = open_files()
    response = await serve(get("/large.bin"))
    assert response.length == 5 * 2**30
    assert not isinstance(response.body, bytes)
    pieces: AsyncIterator[bytes] = response.body
    first, second = await anext(pieces), await anext(pieces)
    assert first.startswith(b"begin")
    assert len(first) == len(second) == files.PIECE
    assert open_files() == before  # nothing is left open between two pieces, however the response ends
    del response, pieces
    gc.collect()

    ranged = await serve(get("/large.bin", Range=f"bytes={5 * 2**30 - 2 * files.PIECE - 1}-"))
    assert ranged.status == 206
    sent = await body(ranged)
    assert len(sent) == ranged.length == 2 * files.PIECE + 1
    assert sent.endswith(b"\0end")
    suffix = await serve(get("/large.bin", Range="bytes=-3"))
    assert suffix.body == b"end"


async def test_pieces_add_up(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 7)
    for path, wanted, expected in (
        ("/simple.html", None, SIMPLE),
        ("/simple.html", "bytes=3-", SIMPLE[3:]),
        ("/simple.html", "bytes=3-16", SIMPLE[3:17]),
        ("/simple.html", "bytes=3-9", SIMPLE[3:10]),
    ):
        response = await StaticFiles([public])(get(path, **({"Range": wanted} if wanted else {})))
        assert await body(response) == expected
        assert response.length == len(expected)


async def test_a_file_that_changes_while_it_is_sent(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 7)
    response = await StaticFiles([public])(get())
    assert not isinstance(response.body, bytes)
    assert await anext(response.body) == SIMPLE[:7]
    (public / "simple.html").write_bytes(b"something else, and longer than before")
    with pytest.raises(OSError, match="has changed"):
        await anext(response.body)


async def test_a_file_that_goes_between_being_found_and_being_read(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_and_delete(directories: list[Path], path: str) -> FoundFile | None:
        found = find_file(directories, path)
        (public / "simple.html").unlink()
        return found

    monkeypatch.setattr(files, "find_file", find_and_delete)
    assert (await StaticFiles([public])(get())).status == 404


@needs_posix
async def test_a_file_that_becomes_a_link_is_not_followed(public: Path, tmp_path: Path) -> None:
    found = find_file([public], "/simple.html")
    assert found is not None
    found.path.unlink()
    found.path.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(OSError, match=r"."):
        await serve_file(get(), found)
    found.path.unlink()
    os.mkfifo(found.path)
    with trio.fail_after(5), pytest.raises(OSError, match="has changed"):
        await serve_file(get(), found)


async def test_a_file_that_is_shorter_than_found(public: Path) -> None:
    found = find_file([public], "/simple.html")
    assert found is not None
    with pytest.raises(OSError, match="shorter"):
        files._read(found, 10, 100)


async def test_cancelling_between_pieces_leaves_nothing_open(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE", 7)
    before = open_files()
    response = await StaticFiles([public])(get())
    with trio.CancelScope() as scope:
        scope.cancel()
        await body(response)
    assert scope.cancelled_caught
    assert open_files() == before
