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
    from collections.abc import Callable, Iterator

    from ahtransport import Connection

ROOT = Path(__file__).resolve().parents[1]
MESSAGE = '"' + "x" * 20 + "#" * 10 + '"'
TROUBLES = ("dead", "lost", "doubled", "reordered", "wrong")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks need Linux")
compiled = pytest.mark.skipif(shutil.which("gcc") is None, reason="the load generator is C, and there is no gcc")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Give the modules of benchmarks/, which are no package.

    Their names are anybody's (an `app`, say, that another test has run), so
    they are imported anew and don't outlive the test.
    """
    names = [path.stem for path in (ROOT / "benchmarks").glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


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


async def run(program: str, transformer: str, serve: Callable[[Server], object], **options: Any) -> dict[str, Any]:
    """Load a server with a generator; gives its report."""
    server = Server(config={}, host="127.0.0.1", port=0, transformer=transformer)
    serve(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        options |= {"port": server.port}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        done = await trio.run_process([program, *words], capture_stdout=True, capture_stderr=True)
        nursery.cancel_scope.cancel()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def troubles(report: dict[str, Any]) -> dict[str, int]:
    return {key: report[key] for key in TROUBLES if report[key]}


#: What a server does wrong, and what the generators have to say of it, of three connections.
FAULTS: dict[Callable[[Connection, Any], None], dict[str, int]] = {
    plain: {},
    lose: {"lost": 3},
    double: {"doubled": 3},
    swap: {"reordered": 3},
    garble: {"wrong": 3, "lost": 3},
    leave: {"dead": 3},
}


@compiled
@pytest.mark.parametrize(("handler", "expected"), FAULTS.items())
async def test_the_generator_notices(
    bench: Callable[[str], Any], handler: Callable[[Connection, Any], None], expected: dict[str, int]
) -> None:
    program = await trio.to_thread.run_sync(bench("side_by_side").build, "wsload")
    # Three connections, a message on each every 15 ms: twenty each, and the last is answered before the next is due.
    options = {"path": "/primus", "mode": "rate", "rate": 200, "conns": 3, "secs": 0.3, "warm": 0, "patience": 0.5}
    report = await run(program, "websockets", lambda server: server.on_message(handler), **options, msg=MESSAGE)
    found = troubles(report)
    assert report["count"] > 0
    if handler is leave:  # what was sent to those that left may have been lost, too
        found.pop("lost", None)
    assert found == expected


@compiled
@pytest.mark.parametrize(("handler", "expected"), FAULTS.items())
async def test_the_generator_notices_over_polling(
    bench: Callable[[str], Any], handler: Callable[[Connection, Any], None], expected: dict[str, int]
) -> None:
    program = await trio.to_thread.run_sync(bench("side_by_side").build, "polload")
    # Each client asks for eight echoes at a time: the seventh is in the first trip, however slow all is. Where one
    # never comes there is no second trip, and nothing is left to be counted.
    options = {"path": "/primus/", "conns": 3, "window": 8, "secs": 0.5, "warm": 0, "patience": 2}
    report = await run(program, "engine.io", lambda server: server.on_message(handler), **options, msg="4" + MESSAGE)
    found = troubles(report)
    if handler in (plain, double, swap):
        assert report["count"] > 0
    if handler is leave:  # a client is told in several ways, and what was under way is lost
        assert found.pop("wrong") >= 3
        found.pop("lost", None)
    assert found == expected


@compiled
@pytest.mark.parametrize(("handler", "expected"), [(one, FAULTS[one]) for one in (plain, lose, double, garble)])
async def test_the_generator_notices_in_a_fan_out(
    bench: Callable[[str], Any], handler: Callable[[Connection, Any], None], expected: dict[str, int]
) -> None:
    """Whatever one of the recipients misses, and gets twice, or changed."""
    program = await trio.to_thread.run_sync(bench("side_by_side").build, "wsload")

    def serve(server: Server) -> None:
        def spread(_: Connection, message: Any) -> None:
            for each in list(server.connections.values()):
                handler(each, message)

        server.on_message(spread)

    # Each broadcast follows at once when all have had the one before, so the seventh comes soon.
    options = {"path": "/primus", "mode": "fanout", "conns": 3, "secs": 1, "warm": 0, "patience": 2}
    report = await run(program, "websockets", serve, **options, msg=MESSAGE)
    if handler in (plain, double):
        assert report["count"] > 0
    assert troubles(report) == expected


@compiled
@pytest.mark.parametrize("family", ["ws", "eio", "sio"])
async def test_the_floor_says_enough_of_every_family(bench: Callable[[str], Any], family: str) -> None:
    """What limits a server is measured beside each echo and fan-out: the floor takes part, and loses nothing."""
    side_by_side, scenarios = bench("side_by_side"), bench("scenarios")
    contestants = [
        side_by_side.Contestant("floor", f"{await trio.to_thread.run_sync(side_by_side.build, 'floor')} {{port}}")
    ]
    effort = side_by_side.Effort(rounds=1, seconds=0.5, warm=0.1, settle=0, share=20, least=1)
    assert all(scenarios.FLOOR in scenarios.SCENARIOS[f"{family}-{name}"].rivals for name in ("echo-1", "echo-1000"))
    for name in ("echo-8", "fanout"):
        scenario = scenarios.SCENARIOS[f"{family}-{name}"]
        assert scenarios.FLOOR in scenario.rivals
        (row,) = await trio.to_thread.run_sync(side_by_side.compare, contestants, scenario, effort)
        assert row["troubles"] == {}


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
    effort = side_by_side.Effort(rounds=2, seconds=0.6, warm=0.1, settle=0, share=10, least=3)
    measure = partial(side_by_side.compare, contestants, scenarios.SCENARIOS["ws-echo-1"], effort)
    rows = await trio.to_thread.run_sync(measure)
    for row in rows:
        assert row["troubles"] == {}
        assert [len(turn["slices"]) for turn in row["rounds"]] == [3, 3]
        assert row["per_cpu_s"] == round(median(each for turn in row["rounds"] for each in turn["slices"]))
    # On a machine that has other things to do, a slice of one server may well go by without a message.
    slices = [turn["slices"] for row in rows for turn in row["rounds"]]
    assert all(any(of_all) for of_all in zip(*slices, strict=True))


def test_short_and_small_is_ours_in_both_ways(bench: Callable[[str], Any]) -> None:
    """What the smoke runs: a task per connection as well, where a scenario has that."""
    module, scenarios = bench("run"), bench("scenarios")
    ours, task = scenarios.OURS, scenarios.TASK
    echo, poll = scenarios.SCENARIOS["ws-echo-1"], scenarios.SCENARIOS["eio-poll"]
    assert module.wanted(echo, None, alone=True) == [ours, task]
    assert module.wanted(poll, None, alone=True) == [ours]
    assert module.wanted(echo, None) == [ours, task, "primus", "ws", "floor"]
    assert module.wanted(echo, ["ws"]) == ["ws"]


def test_ticks_of_all_rounds_are_judged_together(bench: Callable[[str], Any]) -> None:
    """A percentile of few ticks is the worst of them."""
    side_by_side, scenarios = bench("side_by_side"), bench("scenarios")
    written = 'INFO a line of the log\n{"ticks": [[1.0, 0.5], [2.0, 0.001], [3.0, 0.002], [5.0, 0.004], [6.0, 0.5]]}'
    assert side_by_side.late_by(written, [(1.5, 3.5), (4.5, 5.5)]) == [1.0, 2.0, 4.0]

    def turn(late: list[float]) -> dict[str, Any]:
        figures: dict[str, Any] = {"conns": 50, "slices": [100], "late": late, "notes": []}
        figures |= side_by_side.lateness(late)
        return figures | dict.fromkeys(side_by_side.TROUBLES, 0)

    contestant, scenario = side_by_side.Contestant("ahtransport", ""), scenarios.SCENARIOS["ws-ticker"]
    row = side_by_side.summary(contestant, scenario, [turn([1.0] * 99 + [50.0]), turn([2.0] * 100), turn([3.0] * 100)])
    assert (row["ticks"], row["late_p50_ms"], row["late_p99_ms"], row["late_max_ms"]) == (300, 2.0, 3.0, 50.0)
    assert [one["late_max_ms"] for one in row["rounds"]] == [50.0, 2.0, 3.0]
    assert not any("late" in one for one in row["rounds"])


@pytest.mark.parametrize("name", ["ws-ticker", "ws-ticker-fanout"])
def test_three_rounds_have_a_thousand_ticks(bench: Callable[[str], Any], name: str) -> None:
    scenario = bench("scenarios").SCENARIOS[name]
    assert scenario.kind == scenario.app == "ticker"
    assert 3 * scenario.seconds / bench("app").PERIOD >= 1000


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


@pytest.fixture
def result() -> dict[str, Any]:
    """Give the published figures."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "_static" / "performance.json").read_text())
    return found


def test_the_published_figures_are_fit_for_it(bench: Callable[[str], Any], result: dict[str, Any]) -> None:
    """Every target has a figure, of three rounds on Python 3.13, and nobody has lost anything."""
    assert len(bench("report").judged(result)) == len(bench("scenarios").TARGETS)
    for row in result["rows"]:
        assert len(row["rounds"]) >= 3, row["scenario"]
        assert row["troubles"] == {}, row["scenario"]
        assert row.get("ticks", 1000) >= 1000, row["scenario"]
    assert result["pythons"][0].startswith("3.13.")


def row_of(result: dict[str, Any], scenario: str, server: str) -> dict[str, Any]:
    (row,) = [row for row in result["rows"] if (row["scenario"], row["server"]) == (scenario, server)]
    found: dict[str, Any] = row
    return found


def unmeasured(result: dict[str, Any]) -> None:
    result["rows"].remove(row_of(result, "eio-poll", "primus"))


def unscaled(result: dict[str, Any]) -> None:
    result["rows"] = [row for row in result["rows"] if row["scenario"] != "ws-scale"]


def hurried(result: dict[str, Any]) -> None:
    del row_of(result, "ws-idle", "ahtransport")["rounds"][2:]


def lossy(result: dict[str, Any]) -> None:
    row_of(result, "ws-echo-8", "ahtransport-task")["troubles"] = {"lost": 1}


def doubling(result: dict[str, Any]) -> None:
    row_of(result, "sio-poll", "ahtransport")["troubles"] = {"doubled": 2}


def hung_up(result: dict[str, Any]) -> None:
    row_of(result, "ws-fanout", "primus")["troubles"] = {"dead": 7}


def older(result: dict[str, Any]) -> None:
    result["pythons"].reverse()


def fit(result: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (fit, None),
        (unmeasured, "eio-poll: ahtransport was not measured beside primus"),
        (unscaled, "ws-scale: ahtransport was not measured"),
        (hurried, "ws-idle, ahtransport: 2 of at least 3 rounds"),
        (lossy, "ws-echo-8, ahtransport-task: {'lost': 1}"),
        (doubling, "sio-poll, ahtransport: {'doubled': 2}"),
        (hung_up, "ws-fanout, primus: dead 7"),
        (older, "the first Python is 3.11.7, and 3.13 counts"),
    ],
)
def test_unfit_figures_are_not_published(
    bench: Callable[[str], Any],
    result: dict[str, Any],
    spoil: Callable[[dict[str, Any]], None],
    complaint: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is written, and what is wrong is said."""
    module = bench("run")
    result["pythons"] = ["3.13.0", "3.11.7"]
    spoil(result)
    (tmp_path / "figures.json").write_text(json.dumps(result))
    monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(sys, "argv", ["run.py", "--docs", "--from", str(tmp_path / "figures.json")])
    if complaint is None:
        module.main()
        assert json.loads((tmp_path / "docs" / "performance.json").read_text()) == result
        return
    with pytest.raises(SystemExit) as refusal:
        module.main()
    assert isinstance(refusal.value.code, str)  # which ends the program with 1
    assert "published" in refusal.value.code
    assert complaint in capsys.readouterr().out + refusal.value.code
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("words", [["ws-echo-1"], ["--rounds", "2"], ["--servers", "ahtransport"], ["--smoke"]])
def test_figures_that_could_not_be_published_are_not_even_measured(
    bench: Callable[[str], Any],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--docs", *words])
    with pytest.raises(SystemExit) as refusal:
        bench("run").arguments()
    assert refusal.value.code == 2
    assert "--docs needs" in capsys.readouterr().err
