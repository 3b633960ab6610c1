"""Every flood at full size: ``python -m hostile.flood.run``; ``--help`` tells of the options.

One after the other, with honest clients beside each; ends with a table, and with 1 if anything was not as it has to be.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import TYPE_CHECKING

import trio

from hostile.flood.catalogue import floods
from hostile.flood.harness import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostile.flood.harness import Flood, Outcome

P99 = 0.25  # seconds
HEADS = "item", "flood", "p50", "p99", "worst", "lost", "memory", "processor", "stall", "back after", "result"


def row(flood: Flood, outcome: Outcome, faults: list[str]) -> list[str]:
    """Give a flood's row of the table."""
    return [
        flood.item,
        flood.what,
        f"{outcome.p50 * 1000:.1f} ms",
        f"{outcome.p99 * 1000:.0f} ms",
        f"{outcome.most * 1000:.0f} ms",
        f"{outcome.lost} of {outcome.sent}",
        f"+{outcome.grown:.0f} MiB",
        f"{outcome.busy * 100:.0f} %",
        f"{outcome.stats['stall'] * 1000:.0f} ms",
        "never" if outcome.back is None else f"{outcome.back:.0f} s",
        "; ".join(faults) or "ok",
    ]


def table(rows: Iterable[list[str]], *, clients: int, seconds: float) -> str:
    """Write the table in Markdown, and under what circumstances it came about."""
    lines = [HEADS, ["---"] * len(HEADS), *rows]
    about = (
        f"{clients} honest clients, over the three transformers in turn, 10 messages a second each; {seconds:.0f} "
        f"seconds per flood. CPython {platform.python_version()}, {platform.system()}, {os.cpu_count()} processors for "
        f"the server, the honest clients and the attack together; load of the machine: {os.getloadavg()[1]:.0f}."
    )
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", about, ""])


async def known(path: str | None) -> dict[str, list[str]]:
    """Give the rows of the table that is there already, by what the flood is."""
    if path is None or not await trio.Path(path).exists():
        return {}
    lines = (await trio.Path(path).read_text(encoding="utf-8")).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {cells[1]: cells for cells in rows[2:] if len(cells) == len(HEADS)}


async def main(options: argparse.Namespace) -> int:
    """Run what is asked for."""
    every = floods(1.0)
    rows = await known(options.table) if options.only else {}
    text = ""
    wrong = 0
    for name, flood in every.items():
        if options.only and name not in options.only:
            continue
        print(f"{name}: {flood.what} …", flush=True)
        outcome = await run(flood, seconds=options.seconds, clients=options.clients)
        faults = outcome.faults(flood, p99=P99, seconds=options.seconds)
        wrong += bool(faults)
        rows[flood.what] = row(flood, outcome, faults)
        print("    " + ", ".join(rows[flood.what][2:]), flush=True)
        flooded = outcome.flooded
        print(f"    {flooded.connected} connections, {flooded.refused} refused, {outcome.stats}", flush=True)
        ordered = [rows[one.what] for one in every.values() if one.what in rows]
        text = table(ordered, clients=options.clients, seconds=options.seconds)
        if options.table:
            await trio.Path(options.table).write_text(text, encoding="utf-8")
    print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--table")
    sys.exit(trio.run(main, parser.parse_args()))
