"""The differences drawn: a line a case, a panel a dtype, a mark a pair on a logarithmic scale, and the tolerance."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from core.parity.comparison import Row
from core.parity.report.table import by_case, failure, number, pair_name

LABEL, PANEL, GAP, LINE, AXIS = 315, 304, 18, 19, 34  # pixels: case names, a panel, between panels, a case, the axis
ZERO = 44  # pixels at a panel's left for differences of exactly 0
DECADES = {"float32": (-9, -2), "float64": (-17, -8)}  # from under the rounding of one entry to well beyond the tolerance
MARKS = ("circle", "diamond", "triangle")


class Scale(NamedTuple):
    """A panel: its left edge in pixels, and the powers of ten at its two ends."""

    left: float
    low: int
    high: int

    def at(self, value: float) -> float:
        """Pixels of a difference; 0 has a place of its own, and what is beyond an end stays at that end."""
        if value <= 0:
            return self.left + ZERO / 3
        share = (math.log10(value) - self.low) / (self.high - self.low) if math.isfinite(value) else 1.0
        return self.left + ZERO + min(max(share, 0.0), 1.0) * (PANEL - ZERO - 8)


def panel_scales(dtypes: Sequence[str]) -> dict[str, Scale]:
    """The panels of the dtypes side by side."""
    return {dtype: Scale(LABEL + i * (PANEL + GAP), *DECADES[dtype]) for i, dtype in enumerate(dtypes)}


def difference_chart(rows: Sequence[Row], dtypes: Sequence[str], pairs: Sequence[tuple[str, str]], title: str) -> str:
    """An inline SVG of rows, of one group; its colours are the page's classes p0, p1, p2."""
    cases, scales = by_case(rows), panel_scales(dtypes)
    width, height = LABEL + len(dtypes) * (PANEL + GAP), AXIS + LINE * len(cases) + 6
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Relative differences: {escape(title)}">'
    ]
    parts += [axis(dtype, scale, height) for dtype, scale in scales.items()]
    for i, (name, own) in enumerate(cases.items()):
        parts += case_line(name, own, AXIS + LINE * i, width, scales, pairs)
    return "".join(parts) + "</svg>"


def axis(dtype: str, scale: Scale, height: int) -> str:
    """A panel's name, its ground, a vertical line for each second power of ten, and one for 0."""
    bottom = height - 4
    parts = [f'<text x="{scale.left + PANEL / 2}" y="11" class="head" text-anchor="middle">{dtype}</text>',
             f'<rect x="{scale.left}" y="{AXIS - 2}" width="{PANEL}" height="{bottom - AXIS + 2}" class="ground"/>',
             f'<text x="{scale.at(0)}" y="26" class="tick" text-anchor="middle">0</text>']  # fmt: skip
    for power in range(scale.low, scale.high + 1):
        x = scale.at(10.0**power)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{AXIS - 2}" y2="{bottom}" class="grid"/>')
        if (power - scale.high) % 2 == 0:
            tick = f'10<tspan dy="-4" font-size="8">{str(power).replace("-", "−")}</tspan>'
            parts.append(f'<text x="{x:.1f}" y="26" class="tick" text-anchor="middle">{tick}</text>')
    return "".join(parts)


def case_line(
    name: str, own: Sequence[Row], top: float, width: float, scales: dict[str, Scale], pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """A case: its name, its tolerance in each panel, and a mark for each pair, one under the other."""
    failing = [row for row in own if row.problem]
    middle = top + LINE / 2
    parts = []
    if failing:
        reasons = escape("\n".join(map(failure, failing)))
        parts.append(f'<rect x="0" y="{top}" width="{width}" height="{LINE}" class="bad"><title>{reasons}</title></rect>')
    label = f"✕ {name}" if failing else name
    parts.append(
        f'<text x="{LABEL - 10}" y="{middle + 4}" text-anchor="end" class="{"name wrong" if failing else "name"}">'
        f"{escape(label)}</text>"
    )
    for dtype, tolerance in {row.dtype: row.tolerance for row in own if row.dtype}.items():
        x = scales[dtype].at(tolerance)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + LINE}" class="limit"/>')
    for row in own:
        if row.dtype:
            index = pairs.index(row.pair)
            y = middle + (index - (len(pairs) - 1) / 2) * 5
            parts.append(mark(MARKS[index % 3], scales[row.dtype].at(row.relative), y, f"p{index % 3}", tip(row)))
    return parts


def tip(row: Row) -> str:
    """What a mark says when it is pointed at."""
    said = f"{row.case}, {pair_name(row.pair)}, {row.dtype}: {number(row.relative)} of {row.tolerance:.0e}"
    return f"{said}; {row.problem}" if row.problem else said


def mark(kind: str, x: float, y: float, colour: str, text: str) -> str:
    """A circle, diamond or triangle of about 7 pixels with a tip."""
    title = f"<title>{escape(text)}</title>"
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" class="mark {colour}">{title}</circle>'
    corners = {"diamond": ((0, -4), (4, 0), (0, 4), (-4, 0)), "triangle": ((0, -3.8), (3.8, 3), (-3.8, 3))}[kind]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" class="mark {colour}">{title}</polygon>'


def legend(pairs: Sequence[tuple[str, str]]) -> str:
    """What the marks stand for, an SVG each."""
    items = [
        f'<span class="key"><svg width="14" height="14" aria-hidden="true">{mark(MARKS[i % 3], 7, 7, f"p{i % 3}", "")}</svg>'
        f"{escape(pair_name(pair))}</span>"
        for i, pair in enumerate(pairs)
    ]
    limit = '<svg width="14" height="14" aria-hidden="true"><line x1="7" x2="7" y1="0" y2="14" class="limit"/></svg>'
    return f'<p class="legend">{"".join(items)}<span class="key">{limit}tolerance</span></p>'
