"""A line plot as SVG: few points, few lines, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 56
COLOURS: Final = ("#2563eb", "#ea580c", "#059669", "#9333ea")
STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: its name and its points, from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(title: str, across: str, unit: str, lines: Sequence[Line]) -> str:
    """The plot, both axes from zero; across: what the horizontal axis counts."""
    points = [point for line in lines for point in line.points]
    widest = max((x for x, _ in points), default=1.0) or 1.0
    highest = max((y for _, y in points), default=1.0) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + x / widest * (WIDTH - LEFT - RIGHT)
        return round(right, 1), round(HEIGHT - BOTTOM - y / highest * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#64748b"><title>{escape(title)}</title>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)} ({escape(unit)})</text>',
    ]
    for step in range(STEPS + 1):
        _, y = place(0, highest * step / STEPS)
        x, _ = place(widest * step / STEPS, 0)
        parts += [
            f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#94a3b8" stroke-opacity=".4"/>',
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{highest * step / STEPS:.3g}</text>',
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{widest * step / STEPS:g}</text>',
        ]
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>')
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        places = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        at = LEFT + 150 + index * 150
        parts.append(f'<text x="{at}" y="20" fill="{colour}">{escape(line.name)}</text>')
    return "".join([*parts, "</svg>\n"])
