"""What the figures look like: as text, as tables for the documentation, and held against the targets."""

from __future__ import annotations

from statistics import median
from typing import Any

from scenarios import FAMILIES, FLOOR, OURS, SCENARIOS, TARGETS, Target

Row = dict[str, Any]
Figures = dict[tuple[str, str], Row]
ROUNDS, PYTHON = 3, "3.13"
"""What published figures need: so many rounds at least, and this Python first."""

_COLUMNS = {
    "per_cpu_s": "per CPU second",
    "per_s": "per second",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "kb_per_conn": "KB per connection",
    "late_p50_ms": "ticks late p50, ms",
    "late_p99_ms": "ticks late p99, ms",
}
_MAIN = ("per_cpu_s", "per_s", "p50_ms", "p99_ms")


def figures(result: Row) -> Figures:
    """Give the rows by scenario and server."""
    return {(row["scenario"], row["server"]): row for row in result["rows"]}


def ratio(one: Row, other: Row, figure: str) -> float:
    """Divide one server's figure by another's: the median over the slices that were measured one right after the other,
    where there are any."""
    slices = [[each for turn in row.get("rounds", ()) for each in turn.get("slices", ())] for row in (one, other)]
    if figure == "per_cpu_s" and len(slices[0]) == len(slices[1]) > 0:
        return float(median(mine / max(theirs, 1) for mine, theirs in zip(*slices, strict=True)))
    return float(one[figure] / max(other[figure], 1e-9))


def _variants(scenario: str, server: str, table: Figures) -> list[Row]:
    return [row for (where, who), row in table.items() if where == scenario and who.startswith(f"{server}, ")]


def spread(rows: list[Row]) -> float | None:
    """Give how much more the dearest message of a server costs than the cheapest. None: one row is no comparison."""
    if len(rows) < 2:
        return None
    speeds = [ratio(row, rows[0], "per_cpu_s") for row in rows]
    return max(speeds) / min(speeds)


def reached(target: Target, table: Figures) -> tuple[float, bool, str] | None:
    """Give the value that counts, whether it reaches the target, and how it came about. None: not measured."""
    if target.figure == "spread":
        rows = _variants(target.scenario, target.server, table)
        value = spread(rows)
        if value is None:
            return None
        return value, value <= target.bound, ", ".join(f"{row['us_each']:.1f}" for row in rows) + " µs"
    ours = table.get((target.scenario, target.server))
    if ours is None:
        return None
    if not target.peer:
        value = ours[target.figure]
        if target.figure == "p99_ms":
            return value, value <= 3 * ours["p50_ms"] + target.bound, f"p50 {ours['p50_ms']:.2f} ms"
        return value, value <= target.bound, ""
    theirs = table.get((target.scenario, target.peer))
    if theirs is None:
        return None
    value = ratio(ours, theirs, target.figure)
    return value, value >= target.bound, f"{ours[target.figure]:,.0f} / {theirs[target.figure]:,.0f}"


def limit(target: Target, table: Figures) -> float | None:
    """Give what the floor reaches, against the same peer if there is one. None: that was not measured."""
    if target.figure == "spread":
        return spread(_variants(target.scenario, FLOOR, table))
    floor, theirs = table.get((target.scenario, FLOOR)), table.get((target.scenario, target.peer))
    if floor is None or theirs is None or target.figure not in floor:
        return None
    return ratio(floor, theirs, target.figure)


def judged(result: Row) -> list[Row]:
    """Hold the figures against all targets that were measured."""
    table, verdicts = figures(result), []
    for target in TARGETS:
        if found := reached(target, table):
            value, met, how = found
            against = target.peer or target.figure.replace("_", " ")
            most = limit(target, table)
            verdicts.append(
                {
                    "scenario": target.scenario,
                    "server": target.server,
                    "against": against,
                    "value": round(value, 2),
                    "target": str(target),
                    "floor": None if most is None else round(most, 2),
                    "met": met,
                    "how": how,
                }
            )
    return verdicts


def unfit(result: Row) -> list[str]:
    """Say why figures can't be published; nothing: they can.

    Each target needs a figure, of three rounds on the Python that counts, and nobody's is one while messages are lost.
    """
    table, why = figures(result), []
    for target in TARGETS:
        if reached(target, table) is None:
            beside = f" beside {target.peer}" if target.peer else ""
            why.append(f"{target.scenario}: {target.server} was not measured{beside}")
    for row in result["rows"]:
        where = f"{row['scenario']}, {row['server']}"
        if len(row["rounds"]) < ROUNDS:
            why.append(f"{where}: {len(row['rounds'])} of at least {ROUNDS} rounds")
        if row["troubles"]:
            why.append(f"{where}: {' '.join(f'{name} {count}' for name, count in row['troubles'].items())}")
    if not result["pythons"][0].startswith(f"{PYTHON}."):
        why.append(f"the first Python is {result['pythons'][0]}, and {PYTHON} counts")
    return why


def show_rows(rows: list[Row]) -> None:
    """Print one scenario's rows, with the first one's figure divided by each other's."""
    print(f"\n{rows[0]['scenario']}, {rows[0]['conns']:,} connections")
    key = "kb_per_conn" if "kb_per_conn" in rows[0] else "per_cpu_s"
    for row in rows:
        cells = [f"{name}={row[name]:<9,g}" for name in _COLUMNS if name in row]
        times = ratio(rows[0], row, key)
        troubles = "".join(f"  {name.upper()} {count}" for name, count in row["troubles"].items())
        print(f"  {row['server']:32s} {' '.join(cells)} x{times:.2f}{troubles}")
        for note in row["notes"]:
            print(f"      {note[:200]}")


def show_targets(verdicts: list[Row]) -> None:
    """Print the targets."""
    if not verdicts:
        return
    print(f"\n{'scenario':14s} {'server':17s} {'against':17s} {'value':>8s} {'floor':>6s}  {'target':24s}")
    for row in verdicts:
        verdict = "met" if row["met"] else "NOT MET"
        floor = "" if row["floor"] is None else f"{row['floor']:.2f}"
        print(
            f"{row['scenario']:14s} {row['server']:17s} {row['against']:17s} {row['value']:8.2f} {floor:>6s}  "
            f"{row['target']:24s} {verdict:8s} {row['how']}"
        )


def _markdown(head: list[str], lines: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * (len(head) - 1)], *lines)]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _rest(row: Row) -> str:
    """Say what only some scenarios have."""
    if "kb_per_conn" in row:
        return f"{row['kb_per_conn']:.1f} KB per connection"
    if "late_p99_ms" in row:
        ticks = f"{row['ticks']:,} ticks late" if "ticks" in row else "ticks late"
        return f"{ticks}: p50 {row['late_p50_ms']:.1f} ms, p99 {row['late_p99_ms']:.1f} ms"
    return ""


def pages(result: Row) -> dict[str, str]:
    """Give the parts of the page "Performance" that consist of figures, by name."""
    machine = result["machine"]
    where = (
        f"Measured {result['date']} on {machine['cpu']} ({machine['cpus']} CPUs), Linux {machine['kernel']}, "
        f"Python {' and '.join(result['pythons'])}, Node.js {machine['node']}: the median of {result['rounds']} "
        f"round{'s' if result['rounds'] > 1 else ''} of {result['seconds']:g} s each."
    )
    head = ["", "against", "", "value", "floor", "target", ""]
    targets = [
        [f"`{row['scenario']}`" + ("" if row["server"] == OURS else f", {row['server'].removeprefix(OURS + '-')}"),
         row["against"], row["how"], _number(row["value"]), _number(row["floor"]), row["target"],
         "met" if row["met"] else "**not met**"]
        for row in judged(result)
    ]  # fmt: skip
    parts = {"machine": where, "targets": "\n".join(_markdown(head, targets))}
    for family in FAMILIES:
        rows = [row for row in result["rows"] if SCENARIOS[row["scenario"]].family == family]
        lines, last = [], ""
        for row in rows:
            name = "" if row["scenario"] == last else f"`{row['scenario']}`"
            last = row["scenario"]
            lines.append([name, row["server"], *[_number(row.get(key)) for key in _MAIN], _rest(row)])
        parts[f"table-{family}"] = (
            "\n".join(_markdown(["", "server", *map(_COLUMNS.__getitem__, _MAIN), ""], lines)) if rows else ""
        )
    return {f"performance-{name}.txt": text + "\n" for name, text in parts.items()}
