"""Puts a result into the documentation: the figures, their table, and a chart of memory and connections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["chart", "pages", "publish"]

STATIC = Path(__file__).resolve().parents[1] / "docs" / "_static"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 260, 56, 24, 32  # px
ALIGN = {"end": "start", "start": "end"}  # how a name stands over the scale that stands like this
LINES = ((1, 1 / 1024, "memory, MB", "#2962ff"), (4, 1.0, "connections", "#c2410c"))  # column, factor, name, colour


def _ticks(top: float) -> list[float]:
    """Give round numbers from 0 to just below ``top`` or a little less."""
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if top / size <= 6)
    return [step * number for number in range(int(top / step) + 1)]


def chart(samples: Sequence[Sequence[float]]) -> str:
    """Draw memory and connections over the minutes, as SVG; ``samples`` as ``report.thinned`` gives them."""
    last = max(samples[-1][0], 0.1)
    width, height = WIDTH - 2 * LEFT, HEIGHT - TOP - BOTTOM
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for minute in _ticks(last):
        x = LEFT + width * minute / last
        parts.append(f'<path d="M{x:.1f} {TOP}V{TOP + height}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle" fill="#555">{minute:g}</text>')
    parts.append(f'<text x="{WIDTH - LEFT + 20}" y="{HEIGHT - 12}" fill="#555">min</text>')
    for (column, factor, name, colour), anchor in zip(LINES, ALIGN, strict=True):
        x, edge = (LEFT - 6, LEFT) if anchor == "end" else (WIDTH - LEFT + 6, WIDTH - LEFT)
        top = max(one[column] for one in samples) * factor * 1.1 or 1.0
        heights = (TOP + height * (1 - one[column] * factor / top) for one in samples)
        places = zip((LEFT + width * one[0] / last for one in samples), heights, strict=True)
        points = " ".join(f"{over:.1f},{down:.1f}" for over, down in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for tick in _ticks(top):
            y = TOP + height * (1 - tick / top) + 4
            parts.append(f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{tick:,g}</text>')
        parts.append(f'<text x="{edge}" y="14" text-anchor="{ALIGN[anchor]}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def pages(result: Mapping[str, Any]) -> dict[str, str]:
    """Give the files that the documentation shows, by name."""
    figures = json.dumps(result, indent=1, sort_keys=True) + "\n"
    return {"soak.json": figures, "soak-table.txt": table(result), "soak.svg": chart(result["samples"])}


def publish(result: Mapping[str, Any]) -> int:
    """Write them; gives the exit status."""
    for name, text in pages(result).items():
        (STATIC / name).write_text(text, encoding="utf-8")
        print(STATIC / name)
    return 0
