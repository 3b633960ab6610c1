"""What a soak has shown: the slope of memory, the table, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FAULTS", "faults_of", "slope", "table", "thinned"]

FAULTS = ("lost", "doubled", "reordered", "wrong", "unmatched", "broken", "not ended")
"""What must not happen to anybody."""
MOST_GARBAGE = 0.01
"""Objects that a connection may leave to Python's garbage collector, on average: whatever refers to itself stays until
that looks, which is rarely."""


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Give the slope of the line that fits best (least squares); 0 for fewer than two points."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    below = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / below if below else 0.0


def thinned(samples: Sequence[Mapping[str, Any]], most: int = 200) -> list[list[float]]:
    """Give minutes, memory in KB, descriptors, tasks and connections of evenly spread samples, ``most`` at most."""
    step = -(-len(samples) // most) or 1
    columns = ("rss_kb", "fds", "tasks", "connections")
    return [[round(one["at"] / 60, 2), *(one[column] for column in columns)] for one in samples[::step]]


def faults_of(result: Mapping[str, Any], max_slope: float) -> list[str]:
    """Give what is not as it has to be; ``max_slope`` in KB per minute, 0 for no limit (a short run's says nothing)."""
    counts, start, end = result["counts"], result["start"], result["end"]
    faults = [f"{counts[what]} {what}" for what in FAULTS if counts.get(what)]
    for what in ("connections", "engine_sessions", "members", "tallies", "joined"):
        if end[what]:
            faults.append(f"{end[what]} {what.replace('_', ' ')} left over")
    for what in ("tasks", "fds", "rooms"):
        if end[what] > start[what]:
            faults.append(f"{what}: {end[what]} in the end, {start[what]} in the beginning")
    if end.get("garbage", 0) > MOST_GARBAGE * end["closed"]:
        faults.append(f"{end['garbage']} objects left to the garbage collector")
    if end["opened"] != end["closed"]:
        faults.append(f"on_open ran {end['opened']} times, on_close {end['closed']}")
    visits, kept = result["visits"]
    if visits != kept:
        faults.append(f"{visits} visits, of which the sessions know {kept}")
    if result["tracebacks"]:
        faults.append(f"{result['tracebacks']} tracebacks in the server's log")
    if result["statuses"]:
        faults.append(f"ended with a status other than 0: {', '.join(result['statuses'])}")
    if max_slope and result["memory_slope_kb_per_min"] > max_slope:
        faults.append(f"memory grows by {result['memory_slope_kb_per_min']} KB a minute")
    return faults


def _seconds(result: Mapping[str, Any], what: str) -> str:
    return " / ".join(f"{result[what][name]:g}" for name in ("p50", "p99", "max")) + " ms"


def table(result: Mapping[str, Any]) -> str:
    """Make the table, in Markdown."""
    counts, start, middle, end = result["counts"], result["start"], result["middle"], result["end"]
    crowd = result["crowd"]

    def number(value: float) -> str:
        return f"{value:,}"

    memory = [one["rss_kb"] / 1024 for one in (start, middle, result["last"], end)]
    clients = f"{number(result['connections'])} raw clients, {result['real']} real ones"
    rows = [
        ("time", f"{result['minutes']:g} minutes, {clients}"),
        ("connections opened and closed", f"{number(end['opened'])} and {number(end['closed'])}"),
        ("upgrades under fire", number(crowd.get("upgrades", 0))),
        ("messages to the server, numbered", number(counts.get("messages up", 0))),
        ("messages to clients, numbered", number(counts.get("messages down", 0))),
        ("messages heard in rooms, numbered by room", number(crowd.get("heard in rooms", 0))),
        ("answers to actions and verbs", number(crowd.get("answers", 0))),
        ("the server's calls that clients answered", number(end.get("answered", 0))),
        ("polls and POSTs", f"{number(crowd.get('polls', 0))} and {number(crowd.get('posts', 0))}"),
        ("clients that left in order, by RST, by falling silent",
         ", ".join(number(counts.get(f"end: {how}", 0)) for how in ("clean", "reset", "silent"))),
        ("clients that read slowly; that were sent away for it",
         f"{number(crowd.get('slow readers', 0))}; {number(counts.get('end: too slow', 0))}"),
        ("**lost**", f"**{counts.get('lost', 0)}**"),
        ("**doubled**", f"**{counts.get('doubled', 0)}**"),
        ("**reordered**", f"**{counts.get('reordered', 0)}**"),
        ("**not what was sent**", f"**{counts.get('wrong', 0)}**"),
        ("connections that broke, or did not end when they had to",
         f"{counts.get('broken', 0)}, {counts.get('not ended', 0)}"),
        ("sent away while the machine had no time for a second or longer", number(counts.get("end: held up", 0))),
        ("on their way when a connection was broken on purpose",
         number(counts.get("on their way when a connection broke", 0))),
        ("**slope of memory**, second half", f"**{result['memory_slope_kb_per_min']:+g} KB/min**"),
        ("memory: start, half time, last, after all left",
         f"{', '.join(f'{one:.1f}' for one in memory)} MB"),
        *([("pieces of memory that Python has given out: half time, last",
            f"{number(middle['blocks'])}; {number(result['last']['blocks'])}")] if "blocks" in middle else []),
        *([("objects that were left to the garbage collector, of all connections that ended", number(end["garbage"]))]
          if "garbage" in end else []),
        ("**descriptors**: start, half time, after all left", _three(result, "fds")),
        ("**tasks**: start, half time, after all left", _three(result, "tasks")),
        ("connections, Engine.IO sessions, members of rooms after all left",
         f"{end['connections']}, {end['engine_sessions']}, {end['members']}"),
        ("echo: p50 / p99 / max", _seconds(result, "latency_ms")),
        ("a timer of the server's loop is late: mean / max",
         f"{result['lag_mean_ms']:g} / {result['lag_max_ms']:g} ms"),
        ("CPU: server, raw clients", f"{result['server_cpu']:.0%}, {result['crowd_cpu']:.0%} of one core"),
        ("lines in the log from warnings up; tracebacks", f"{result['warnings']}; {result['tracebacks']}"),
        ("verdict", "sound" if not result["faults"] else "; ".join(result["faults"])),
    ]  # fmt: skip
    return "".join(f"| {name} | {value} |\n" for name, value in (("", ""), ("---", "---"), *rows))


def _three(result: Mapping[str, Any], what: str) -> str:
    return ", ".join(f"{result[when][what]:,}" for when in ("start", "middle", "end"))
