"""The soak itself: that it notices what goes wrong, and a short one of a hundred clients."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from soak.accounts import Latencies, Numbers, Reconciliation, body_down, body_up  # noqa: E402
from soak.languages import Heard, Primus, SocketIO  # noqa: E402
from soak.publish import BOTTOM, HEIGHT, TOP, chart, pages  # noqa: E402
from soak.report import faults_of, slope, table, thinned  # noqa: E402

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks at /proc")
CLIENT = {"key": "a", "sent": 3, "received": 5, "lost": 0, "doubled": 0, "reordered": 0, "wrong": 0, "end": "clean"}
SERVER = {"key": "a", "sent": 5, "received": 3, "lost": 0, "doubled": 0, "reordered": 0, "wrong": 0, "code": 1000}


def taken(*numbers: int) -> tuple[int, int, int, int]:
    """Take these; the last, and how many were lost, doubled, reordered."""
    account = Numbers()
    for number in numbers:
        account.take(number)
    assert account.sound == (numbers == tuple(range(1, len(numbers) + 1)))
    return account.last, account.lost, account.doubled, account.reordered


def test_numbers() -> None:
    assert taken() == (0, 0, 0, 0)
    assert taken(1, 2, 3) == (3, 0, 0, 0)
    assert taken(1, 3, 4) == (4, 1, 0, 0)
    assert taken(2, 3) == (3, 1, 0, 0)
    assert taken(1, 1, 2) == (2, 0, 1, 0)
    assert taken(1, 2, 1) == (2, 0, 1, 0)
    assert taken(1, 3, 2, 4) == (4, 0, 0, 1)
    assert taken(1, 4, 2, 2) == (4, 1, 1, 1)


def reconciled(client: dict[str, Any], server: dict[str, Any]) -> dict[str, int]:
    """What the two ends' records come to, without what is always counted."""
    found = []
    for records in ((("client", client), ("server", server)), (("server", server), ("client", client))):
        reconciliation = Reconciliation()
        for side, record in records:
            reconciliation.take(side, record)
        reconciliation.finish()
        usual = ("connections", "messages up", "messages down")
        found.append({what: count for what, count in reconciliation.counts.items() if what not in usual and count})
    assert found[0] == found[1]
    return found[0]


def test_both_ends_agree() -> None:
    assert reconciled(CLIENT, SERVER) == {"end: clean": 1}
    assert reconciled({**CLIENT, "end": "reset", "sent": 4}, SERVER) == {
        "end: reset": 1,
        "on their way when a connection broke": 1,
    }


def test_the_ends_don_t_agree() -> None:
    assert reconciled({**CLIENT, "sent": 4}, SERVER)["lost"] == 1
    assert reconciled({**CLIENT, "received": 4}, SERVER)["lost"] == 1
    assert reconciled({**CLIENT, "end": "reset", "sent": 2}, SERVER)["wrong"] == 1
    assert reconciled({**CLIENT, "lost": 2}, SERVER)["lost"] == 2
    assert reconciled(CLIENT, {**SERVER, "doubled": 1})["doubled"] == 1
    assert reconciled(CLIENT, {**SERVER, "key": "b"})["unmatched"] == 2


def test_two_records_of_one_end() -> None:
    reconciliation = Reconciliation()
    reconciliation.take("server", SERVER)
    reconciliation.take("server", SERVER)
    assert reconciliation.counts["unmatched"] == 1
    assert "two records" in reconciliation.troubles[0]


def test_latencies() -> None:
    latencies = Latencies()
    assert latencies.report() == {"p50": 0, "p99": 0, "max": 0}
    times = [random.Random(3).expovariate(100) for _ in range(10_000)]
    for time in times:
        latencies.note(time)
    times.sort()
    assert latencies.quantile(0.5) == pytest.approx(times[5_000], rel=0.07)
    assert latencies.quantile(0.99) == pytest.approx(times[9_900], rel=0.07)
    assert latencies.worst == times[-1]


def test_slope() -> None:
    assert slope([]) == slope([(1, 2)]) == slope([(1, 2), (1, 4)]) == 0
    assert slope([(minute, 3 + 2 * minute) for minute in range(10)]) == pytest.approx(2)
    assert slope([(0, 1), (1, 0), (2, 2), (3, 1)]) == pytest.approx(0.2)


@pytest.mark.parametrize("args", [[1, "text"], [b"\x00\xff", {"deep": 1}], []])
def test_languages(args: list[Any]) -> None:
    """What a client says, heard by another client: the packets are the same both ways."""
    for namespace in ("/", "/soak"):
        language = SocketIO()
        for number in (None, 12):
            *parts, last = language.event(namespace, "name", args, number)
            assert all(language.hear(part) is None for part in parts)
            assert language.hear(last) == Heard("event", namespace, "name", args, number)
        *parts, last = language.answer(namespace, 7, args)
        assert all(language.hear(part) is None for part in parts)
        assert language.hear(last) == Heard("ack", namespace, "", args, 7)
    assert SocketIO().hear(str(SocketIO().message({"a": 1})[0])) == Heard("message", "/", "", [{"a": 1}])
    if not any(isinstance(one, bytes) for one in args):
        (text,) = Primus().event("/", "name", args, 3)
        assert Primus().hear(text) == Heard("event", "/", "name", args, 3)
        (text,) = Primus().answer("/", 3, args)
        assert Primus().hear(text) == Heard("ack", "/", "", args, 3)


def test_bodies_tell_who_and_which() -> None:
    assert body_up("a/", 1) != body_up("b/", 1) != body_up("b/", 2)
    assert len(body_down("a/", 7, 1000)) == len(body_down("a/", 7, 1)) + 999


def test_samples_are_thinned() -> None:
    samples = [{"at": 6.0 * n, "rss_kb": 50_000 + n, "fds": n, "tasks": 9, "connections": n} for n in range(401)]
    few = thinned(samples)
    assert len(few) == 134
    assert few[:2] == [[0, 50_000, 0, 9, 0], [0.3, 50_003, 3, 9, 3]]
    assert len(thinned(samples[:200])) == 200
    assert thinned([]) == []


def test_the_chart_is_an_image() -> None:
    picture = ElementTree.fromstring(chart([[0, 40_960, 11, 13, 0], [30, 81_920, 5_000, 200, 5_000]]))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    height = HEIGHT - TOP - BOTTOM
    first = [float(line.get("points", "").split()[0].split(",")[1]) for line in lines]
    assert first == pytest.approx([TOP + height * (1 - 40 / 88), TOP + height], abs=0.1)


def test_what_is_published_is_sound_and_long_enough() -> None:
    """And its table and its chart are of the same figures."""
    static = ROOT / "docs" / "_static"
    result = json.loads((static / "soak.json").read_text())
    for name, text in pages(result).items():
        assert (static / name).read_text() == text, f"{name}: python -m soak --from docs/_static/soak.json"
    assert result["faults"] == faults_of(result, 128) == []
    assert result["minutes"] >= 60
    assert result["connections"] >= 5000


@linux
@pytest.mark.timeout(150)
def test_a_short_soak(tmp_path: Path) -> None:
    """Ten seconds; whatever the machine does meanwhile, nothing may be lost, doubled, reordered or left over."""
    options = [
        "--minutes",
        "0.17",
        "--connections",
        "100",
        "--rate",
        "60",
        "--churn",
        "4",
        "--real",
        "1",
        "--period",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "soak", *options, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "soak.json").read_text())
    counts, crowd = result["counts"], result["crowd"]
    assert counts["end: clean"] > 100
    assert counts["messages up"] > 500
    assert counts["messages down"] > 500
    assert crowd["upgrades"] >= 35
    assert min(crowd["polls"], crowd["posts"], crowd["answers"]) > 50
    assert result["end"]["opened"] == result["end"]["closed"] > 110
    assert result["faults"] == result["troubles"] == []
    assert (tmp_path / "soak.md").read_text() == table(result)
    assert "| **lost** | **0** |" in table(result)

    # What would have been a fault is one.
    def faults(**changes: Any) -> list[str]:
        return faults_of({**result, **changes}, 128)

    level = {"memory_slope_kb_per_min": 0}
    assert faults(**level) == []
    assert faults(memory_slope_kb_per_min=129) == ["memory grows by 129 KB a minute"]
    assert faults(**level, counts={**counts, "lost": 2}) == ["2 lost"]
    assert faults(**level, tracebacks=1) == ["1 tracebacks in the server's log"]
    assert faults(**level, visits=[2, 1]) == ["2 visits, of which the sessions know 1"]
    assert faults(**level, statuses=["npm (1)"]) == ["ended with a status other than 0: npm (1)"]
    end = result["end"]
    assert faults(**level, end={**end, "garbage": 999}) == ["999 objects left to the garbage collector"]
    assert len(faults(**level, end={**end, "tasks": 999, "fds": 999, "connections": 1, "closed": 0})) == 4
