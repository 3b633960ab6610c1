"""The benchmarks themselves: that the load generator notices what goes wrong, and that the published figures agree."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport import Connection

ROOT = Path(__file__).resolve().parents[1]
MESSAGE = '"' + "x" * 20 + "#" * 10 + '"'
TROUBLES = ("dead", "lost", "doubled", "reordered", "wrong")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks need Linux")
compiled = pytest.mark.skipif(shutil.which("gcc") is None, reason="the load generator is C, and there is no gcc")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Give the modules of benchmarks/, which are no package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module


def seventh(connection: Connection) -> bool:
    """Whether this is a connection's seventh message."""
    connection.data["seen"] = connection.data.get("seen", 0) + 1
    return bool(connection.data["seen"] == 7)


def plain(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)


def lose(connection: Connection, message: Any) -> None:
    if not seventh(connection):
        connection.send_nowait(message)


def double(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)
    if seventh(connection):
        connection.send_nowait(message)


def swap(connection: Connection, message: Any) -> None:
    if seventh(connection):
        connection.data["kept"] = message
        return
    connection.send_nowait(message)
    if "kept" in connection.data:
        connection.send_nowait(connection.data.pop("kept"))


def garble(connection: Connection, message: Any) -> None:
    if seventh(connection):
        message = message[:5] + "y" + message[6:]
    connection.send_nowait(message)


def leave(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)
    if seventh(connection):
        connection.close(reconnect=True)  # without a word that the client is not to come back


@compiled
@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (plain, {}),
        (lose, {"lost": 3}),
        (double, {"doubled": 3}),
        (swap, {"reordered": 3}),
        (garble, {"wrong": 3, "lost": 3}),
        (leave, {"dead": 3}),
    ],
)
async def test_the_generator_notices(
    bench: Callable[[str], Any], handler: Callable[[Connection, Any], None], expected: dict[str, int]
) -> None:
    program = await trio.to_thread.run_sync(bench("side_by_side").build, "wsload")
    server = Server(config={}, host="127.0.0.1", port=0)
    server.on_message(handler)
    # Three connections, a message on each every 15 ms: twenty each, and the last is answered before the next is due.
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        options = {"port": server.port, "path": "/primus", "mode": "rate", "rate": 200, "conns": 3}
        options |= {"secs": 0.3, "warm": 0, "patience": 0.5, "msg": MESSAGE}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        done = await trio.run_process([program, *words], capture_stdout=True, capture_stderr=True)
        nursery.cancel_scope.cancel()
    report = json.loads(done.stdout)
    found = {key: report[key] for key in TROUBLES if report[key]}
    assert report["count"] > 0
    if handler is leave:  # what was sent to those that left may have been lost, too
        found.pop("lost", None)
    assert found == expected


def test_targets(bench: Callable[[str], Any]) -> None:
    report, scenarios = bench("report"), bench("scenarios")

    def table(scenario: str, **servers: dict[str, float]) -> dict[tuple[str, str], dict[str, float]]:
        return {(scenario, name): row for name, row in servers.items()}

    ratio = scenarios.Target("ws-echo-1", 1.2, "primus")
    reached = partial(report.reached, ratio)
    rows = table("ws-echo-1", ahtransport={"per_cpu_s": 120.0}, primus={"per_cpu_s": 100.0})
    assert reached(rows)[:2] == (1.2, True)
    rows["ws-echo-1", "primus"]["per_cpu_s"] = 101.0
    assert reached(rows)[1] is False
    assert reached(table("ws-echo-1", ahtransport={"per_cpu_s": 120.0})) is None

    late = scenarios.Target("ws-p99", 10.0, figure="p99_ms")
    assert report.reached(late, table("ws-p99", ahtransport={"p50_ms": 2.0, "p99_ms": 16.0}))[:2] == (16.0, True)
    assert report.reached(late, table("ws-p99", ahtransport={"p50_ms": 2.0, "p99_ms": 16.1}))[:2] == (16.1, False)

    def costs(*microseconds: float, server: str = "ahtransport") -> dict[str, dict[str, float]]:
        rows = [{"us_each": each, "per_cpu_s": 1e6 / each} for each in microseconds]
        return {f"{server}, {number} connections": row for number, row in enumerate(rows)}

    spread = scenarios.Target("ws-scale", 1.5, figure="spread")
    assert report.reached(spread, table("ws-scale", **costs(10.0, 14.0)))[1] is True
    assert report.reached(spread, table("ws-scale", **costs(10.0, 16.0)))[1] is False
    rows = table("ws-scale", **costs(10.0, 16.0), **costs(4.0, 7.0, server="floor"))
    assert report.reached(spread, rows)[0] == pytest.approx(1.6)
    assert report.limit(spread, rows) == pytest.approx(1.75)


def test_a_ratio_is_that_of_neighbours(bench: Callable[[str], Any]) -> None:
    """The machine is twice as fast for a while: medians of each would compare one time with another."""
    report = bench("report")
    ours = {"per_cpu_s": 150, "rounds": [{"slices": [150, 300]}, {"slices": [150, 150, 150]}]}
    theirs = {"per_cpu_s": 200, "rounds": [{"slices": [100, 200]}, {"slices": [200, 100, 200]}]}
    assert report.ratio(ours, theirs, "per_cpu_s") == 1.5
    assert report.ratio(ours, {"per_cpu_s": 200}, "per_cpu_s") == 0.75
    assert report.ratio({"kb_per_conn": 2.0}, {"kb_per_conn": 8.0}, "kb_per_conn") == 0.25


@compiled
async def test_servers_take_turns(bench: Callable[[str], Any]) -> None:
    """Each is measured in every slice of every round, and all that it was asked is answered in the end."""
    side_by_side, scenarios = bench("side_by_side"), bench("scenarios")
    app = f"{sys.executable} app.py {{port}} inline websockets"
    contestants = [side_by_side.Contestant(name, app) for name in ("ahtransport", "ahtransport again")]
    effort = side_by_side.Effort(rounds=2, seconds=0.3, warm=0.1, settle=0, share=10, least=3)
    measure = partial(side_by_side.compare, contestants, scenarios.SCENARIOS["ws-echo-1"], effort)
    for row in await trio.to_thread.run_sync(measure):
        assert row["troubles"] == {}
        assert [len(turn["slices"]) for turn in row["rounds"]] == [3, 3]
        assert row["per_cpu_s"] == round(median(each for turn in row["rounds"] for each in turn["slices"]))
        assert min(each for turn in row["rounds"] for each in turn["slices"]) > 0


def test_every_target_is_of_something_that_is_measured(bench: Callable[[str], Any]) -> None:
    scenarios = bench("scenarios")
    for target in scenarios.TARGETS:
        scenario = scenarios.SCENARIOS[target.scenario]
        assert not target.peer or target.peer in scenario.rivals
        assert target.server == scenarios.OURS or scenario.task


def test_the_published_tables_and_charts_are_made_of_the_published_figures(bench: Callable[[str], Any]) -> None:
    folder = ROOT / "docs" / "_static"
    result = json.loads((folder / "performance.json").read_text())
    for name, text in bench("run").published(result).items():
        assert (folder / name).read_text() == text, f"{name}: python benchmarks/run.py --docs --from performance.json"
