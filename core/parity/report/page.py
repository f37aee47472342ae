"""The report as one HTML file that needs nothing else: light and dark, drawings as SVG, maps as embedded PNG."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from core.parity.comparison import Row
from core.parity.report.chart import difference_chart, legend
from core.parity.report.table import HEADINGS, by_case, failure, number, pair_name, passed, share, summary_lines
from core.parity.runs import Run
from core.results.colours import heat_colours
from core.results.segmentation import Segmentation

MAP_DECADES = 4  # a map's colours: from this many powers of ten below the tolerance up to it
MAP_SIDE, PICTURE_SIDE = 96, 320  # pixels of the longer side

STYLE = """
:root { color-scheme: light dark; --page: #fbfbf9; --ink: #1d1d1b; --soft: #63635e; --line: #dddcd6; --ground: #f2f1ec;
  --p0: #1f6fd0; --p1: #c75d00; --p2: #0e8161; --limit: #c2303a; --bad: #fbdfe0; --good: #0e7a4f; }
@media (prefers-color-scheme: dark) { :root { --page: #171716; --ink: #ecebe6; --soft: #a3a29b; --line: #3a3a37;
  --ground: #21211f; --p0: #6fb1ff; --p1: #ffa14d; --p2: #45cfa4; --limit: #ff7a80; --bad: #4a2023; --good: #4fd198; } }
body { margin: 0 auto; max-width: 1000px; padding: 28px 20px 60px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 6px; } h3 { font-size: 15px; margin: 22px 0 4px; }
p { margin: 6px 0; } .soft { color: var(--soft); } .verdict { font-size: 17px; font-weight: 600; margin: 10px 0; }
.pass { color: var(--good); } .fail, .wrong { color: var(--limit); fill: var(--limit); font-weight: 600; }
.wide { overflow-x: auto; } svg { display: block; } .key svg { display: inline-block; vertical-align: -2px; margin-right: 5px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg text.tick { font-size: 11px; fill: var(--soft); }
svg text.head { font-weight: 600; } svg text.wrong { fill: var(--limit); font-weight: 600; }
.ground { fill: var(--ground); } .grid { stroke: var(--line); } .bad { fill: var(--bad); }
.limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 4 2; } .mark { stroke: var(--page); stroke-width: .6; }
.p0 { fill: var(--p0); } .p1 { fill: var(--p1); } .p2 { fill: var(--p2); }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 3px 12px 3px 0; text-align: left; }
th { color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--line); } td.n { font-variant-numeric: tabular-nums; }
tr.failing td { background: var(--bad); }
.maps { display: flex; flex-wrap: wrap; gap: 18px 26px; } figure { margin: 0; font-size: 12px; }
figcaption { font-weight: 600; margin-bottom: 3px; } .row { display: flex; gap: 10px; align-items: flex-start; }
.row span { color: var(--soft); line-height: 1.35; } .row img { margin-bottom: 3px; }
img { display: block; border: 1px solid var(--line); } img.map { image-rendering: pixelated; }
.bar { width: 180px; height: 12px; }
"""


def report_page(runs: Sequence[Run], rows: Sequence[Row], results: Mapping[str, Segmentation] | None = None) -> str:
    """The whole page; results: labelled pictures by the run's label."""
    pairs = list(dict.fromkeys(row.pair for row in rows))
    dtypes = sorted({row.dtype for row in rows if row.dtype})
    parts = [header(runs, rows)]
    if results:
        parts.append(labelled_pictures(results))
    said = "Relative to the largest entry of the first of a pair, the worst over all shapes; at a panel's right end: or more."
    parts.append(f'<h2>Largest differences</h2><p class="soft">{said}</p>{legend(pairs)}')
    for group, heading in HEADINGS.items():
        own = [row for row in rows if row.about.group == group]
        if own:
            chart = difference_chart(own, dtypes, pairs, heading)
            parts.append(f'<h3>{heading.capitalize()}</h3><div class="wide">{chart}</div>')
    parts += [difference_maps(rows), numbers_table(rows)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Parity report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def header(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """Title, verdict, what is wrong, what was run on what."""
    *remarks, verdict = summary_lines(rows)
    colour = "pass" if passed(rows) else "fail"
    problems = "".join(f'<li class="fail">{escape(failure(row))}</li>' for row in rows if row.problem)
    keys = list(dict.fromkeys(key for run in runs for key in run.facts))
    head = "".join(f"<th>{escape(key)}</th>" for key in ["run", *keys])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(x))}</td>" for x in [run.label, *(run.facts.get(key, "") for key in keys)]) + "</tr>"
        for run in runs
    )
    said = "".join(f'<p class="soft">{escape(line)}</p>' for line in remarks)
    return (
        f'<h1>Parity report</h1><p class="verdict {colour}">{escape(verdict)}</p>'
        + (f"<ul>{problems}</ul>" if problems else "")
        + f'{said}<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    )


def labelled_pictures(results: Mapping[str, Segmentation]) -> str:
    """The picture as each backend labels it."""
    figures = []
    for label, result in results.items():
        picture = result.overlay()
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        shown = png(np.asarray(picture.convert("RGB")))
        said = escape(label)
        figures.append(f'<figure><img src="{shown}" alt="labels by {said}"><figcaption>{said}</figcaption></figure>')
    return f'<h2>The picture, labelled</h2><div class="maps">{"".join(figures)}</div>'


def difference_maps(rows: Sequence[Row]) -> str:
    """For each method and pair where on the grid the outcomes differ, in the coarsest dtype that was compared."""
    mapped = [row for row in rows if row.where is not None]
    if not mapped:
        return ""
    dtype = min(row.dtype for row in mapped)
    figures = [case_maps(name, own) for name, own in by_case([row for row in mapped if row.dtype == dtype]).items()]
    bar = f'<img class="bar" src="{png(heat(np.linspace(-MAP_DECADES, 0, 90)[None]))}" alt="">'
    scale = f'<p class="legend soft"><span>{10.0**-MAP_DECADES:.0e} of the tolerance</span>{bar}<span>the tolerance</span></p>'
    said = f"The largest difference at each patch or pixel, {dtype}, in the shape that differs most."
    return f'<h2>Where they differ</h2><p class="soft">{said}</p>{scale}<div class="maps">{"".join(figures)}</div>'


def case_maps(name: str, own: Sequence[Row]) -> str:
    """The maps of one case, a pair beside the other."""
    cells = []
    for row in own:
        where = shrunk(row.where, PICTURE_SIDE)
        factor = max(MAP_SIDE / max(where.shape), 1.0)
        height, width = (max(round(side * factor), 1) for side in where.shape)
        with np.errstate(divide="ignore"):
            levels = np.log10(where / row.tolerance)
        said = [pair_name(row.pair), number(row.relative), row.trial]
        shown = f'<img class="map" width="{width}" height="{height}" src="{png(heat(levels))}" alt="{escape(", ".join(said))}">'
        cells.append(f"<span>{shown}{'<br>'.join(map(escape, said))}</span>")
    return f'<figure><figcaption>{escape(name)}</figcaption><div class="row">{"".join(cells)}</div></figure>'


def shrunk(where: np.ndarray, longest: int) -> np.ndarray:
    """A map (h, w) of at most `longest` places a side, the largest value of each block."""
    step = math.ceil(max(where.shape) / longest)
    rows, columns = (range(0, side, step) for side in where.shape)
    return np.maximum.reduceat(np.maximum.reduceat(where, rows, axis=0), columns, axis=1)


def heat(levels: np.ndarray) -> np.ndarray:
    """Powers of ten beside the tolerance (h, w) as colours, dark at `MAP_DECADES` below it and bright at it."""
    return heat_colours(np.clip(1 + levels / MAP_DECADES, 0, 1))


def png(pixels: np.ndarray) -> str:
    """(h, w, 3) uint8 as a PNG within the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def numbers_table(rows: Sequence[Row]) -> str:
    """Every figure, folded away."""
    titles = ("case", "dtype", "pair", "absolute", "relative", "tolerance", "choices", "in", "")
    body = []
    for row in rows:
        agreement = "" if row.agreement is None else share(row.agreement)
        cells = [row.case, row.dtype, pair_name(row.pair), number(row.absolute), number(row.relative), f"{row.tolerance:.0e}",
                 agreement, row.trial, row.problem or "within"]  # fmt: skip
        kind = ' class="failing"' if row.problem else ""
        body.append(f"<tr{kind}>" + "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells) + "</tr>")
    head = "".join(f"<th>{title}</th>" for title in titles)
    table = f'<div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'
    return f"<h2>All figures</h2><details><summary>{len(rows)} comparisons</summary>{table}</details>"
