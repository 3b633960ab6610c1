"""The generated client on the disk: what a server writes when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ahtransport.testing import memory_host
from test_client_serving import FILES, NAME, make, served

if TYPE_CHECKING:
    from pathlib import Path


def inside(path: Path) -> list[str]:
    return sorted(one.relative_to(path).as_posix() for one in path.rglob("*"))


async def test_what_goes_wrong_in_the_making_costs_the_client_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "public").mkdir()

    def fail(*args: object, **options: object) -> str:
        raise RuntimeError("no types")

    monkeypatch.setattr("ahtransport.client._browser.declarations", fail)
    async with served(make(server={"credentials": False})) as get:
        assert (await get(f"/javascript/{NAME}.js")).status == 200
    assert [record.getMessage() for record in caplog.records] == ["writing the browser client failed"]


async def test_the_files_are_written_below_the_first_public_directory(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    server = make(public=["first", "second"], client_js_path="js/deep", client_js_name="Chat")
    async with memory_host(server):
        assert inside(tmp_path / "first")[-1] == "js/deep/Chat.mjs"
    folder = tmp_path / "first" / "js" / "deep"
    files = server.client_files()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == dict(files.files)
    assert list((tmp_path / "second").iterdir()) == []


async def test_what_is_the_same_is_left_alone_and_the_rest_replaced(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    folder = tmp_path / "public" / "javascript"
    async with memory_host(make()):
        pass
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    (folder / f"{NAME}.mjs").write_bytes(b"old")
    (folder / f"{NAME}.d.mts").unlink()
    async with memory_host(make()):
        pass
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert {name for name in after if after[name] == before[name]} >= {f"{NAME}.js", f"{NAME}.min.js", f"{NAME}.d.ts"}
    assert (folder / f"{NAME}.mjs").read_bytes() != b"old"


@pytest.mark.parametrize(
    "options", [{"client_js_write": False}, {"client_js_name": ""}, {"websocket": {"enabled": False}}]
)
async def test_nothing_is_written_where_nothing_is_wanted(options: Any, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    async with memory_host(make(**options)):
        pass
    assert list((tmp_path / "public").iterdir()) == []


async def test_directories_are_not_made_for_it(tmp_path: Path) -> None:
    async with memory_host(make()):
        pass
    assert inside(tmp_path) == []


@pytest.mark.parametrize("path", ["..", "../elsewhere", "a/../..", "C:", "nul", "x\x00y"])
async def test_nothing_is_written_elsewhere(path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public = tmp_path / "inner" / "public"
    public.mkdir(parents=True)
    async with served(make(public=[public], client_js_path=path)) as get:
        assert (await get("/primus/primus.js")).status == 200
    assert inside(tmp_path) == ["inner", "inner/public"]
    [record] = [record for record in caplog.records if "browser client" in record.getMessage()]
    assert "served from memory" in record.getMessage()


def test_the_host_is_not_needed_for_the_files(tmp_path: Path) -> None:
    written = make(client_js_name="Chat").client_files().write(tmp_path / "new" / "folder")
    assert [path.name for path in written] == [f"Chat{extension}" for extension in FILES] + ["primus.js"]
    assert all(path.stat().st_size > 100 for path in written)
