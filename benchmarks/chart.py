"""Bar charts as SVG, readable on light and dark pages and by screen readers."""

from __future__ import annotations

from html import escape
from typing import Any

from scenarios import FAMILIES, FLOOR, SCENARIOS

WIDTH, LABEL, BAR, GAP, HEAD = 720, 190, 16, 4, 30
_STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de } text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .name { text-anchor: end } .title { font-weight: 600; font-size: 13px }
  .ours { fill: #0969da } .own { fill: #6cb0f5 } .peer { fill: #9a6700 } .floor { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    .page { fill: #161b22; stroke: #30363d } text { fill: #e6edf3 }
    .ours { fill: #4493f8 } .own { fill: #2d5f9e } .peer { fill: #d29922 } .floor { fill: #6e7681 }
  }
"""


def _kind(server: str) -> str:
    if server == "ahtransport":
        return "ours"
    return "own" if server.startswith("ahtransport") else "floor" if server == FLOOR else "peer"


def chart(result: dict[str, Any], family: str) -> str:
    """Draw one family's messages per CPU second: a group of bars for each scenario, each group to its own scale."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        scenario = SCENARIOS[row["scenario"]]
        if scenario.family == family and scenario.kind in ("load", "accept"):
            groups.setdefault(scenario.name, []).append(row)
    body, y = [], 12
    for name, rows in groups.items():
        body.append(f'<text class="title" x="12" y="{y + 14}">{name}</text>')
        y += HEAD - 6
        most = max(row["per_cpu_s"] for row in rows) or 1
        for row in rows:
            length = max(1, round((WIDTH - LABEL - 100) * row["per_cpu_s"] / most))
            figure = f"{row['per_cpu_s']:,.0f}"
            body.append(
                f'<text class="name" x="{LABEL - 8}" y="{y + 12}">{escape(row["server"])}</text>'
                f'<rect class="{_kind(row["server"])}" x="{LABEL}" y="{y}" width="{length}" height="{BAR}" rx="2"/>'
                f'<text x="{LABEL + length + 6}" y="{y + 12}">{figure}</text>'
            )
            y += BAR + GAP
        y += 10
    title = f"{FAMILIES[family]}: messages per second of the server's CPU time; longer is better"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 2}" role="img" '
            f'aria-labelledby="title-{family}">',
            f'<title id="title-{family}">{title}</title>',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{y + 1}" rx="6"/>',
            *body,
            "</svg>\n",
        ]
    )
