"""The picture of how cost grows: time above, memory below, a column for each thing that grows."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarking.growth import AXES, HEADS, PANELS, Measured
from core.errors import InputError
from core.files.writing import atomic_path

COLOURS = {"jittor": "#1f6fd0", "torch": "#c75d00", "numpy": "#6d6d68"}
NAMES = {"jittor": "Jittor", "torch": "PyTorch", "numpy": "NumPy"}
STYLES = dict(zip(HEADS, ("-", "--", ":"), strict=True))
MARKS = dict(zip(HEADS, ("o", "s", "^"), strict=True))
LEAST_MB = 0.1  # below it the measure of memory is noise
TICKS = {
    "picture": {256**2: "256²", 512**2: "512²", 1024**2: "1024²"},
    "classes": {2: "2", 8: "8", 21: "21", 60: "60", 171: "171"},
    "lof": {196: "196", 784: "784", 5184: "5184"},
    "heads": {196: "196", 784: "784", 5184: "5184"},
}


def check_matplotlib() -> None:
    """Raises InputError when matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("the plot needs matplotlib: pip install 'jittor-ovseg[plots]'")


def draw(points: Sequence[Measured], path: Path, caption: str) -> None:
    """Draws the points into a PNG, whole or not at all."""
    from matplotlib.figure import Figure

    panels = [panel for panel in PANELS if any(point.panel == panel for point in points)]
    figure = Figure(figsize=(3 * max(len(panels), 2), 5.6), dpi=160, layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="row")
    for column, panel in enumerate(panels):
        own = [point for point in points if point.panel == panel]
        draw_lines(grid[0, column], own, lambda point: point.seconds * 1000)
        draw_lines(grid[1, column], own, lambda point: max(point.extra_bytes / 1e6, LEAST_MB))
        grid[0, column].set_title(PANELS[panel], fontsize=10)
        grid[1, column].set_xlabel(AXES[panel])
        grid[1, column].set_xticks(list(TICKS[panel]), list(TICKS[panel].values()))
        grid[1, column].minorticks_off()
    grid[0, 0].set_ylabel("time (ms)")
    grid[1, 0].set_ylabel("memory above inputs\nand result (MB)")
    add_legends(figure, grid[0, -1], points)
    figure.supxlabel(caption, fontsize=7.5, color="#63635e")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def draw_lines(axes: Any, points: Sequence[Measured], value: Any) -> None:
    """A line per label and backend, both axes logarithmic."""
    for label, backend in dict.fromkeys((point.label, point.backend) for point in points):
        own = [point for point in points if (point.label, point.backend) == (label, backend)]
        axes.plot([point.x for point in own], [value(point) for point in own], STYLES.get(label, "-"),
                  color=COLOURS[backend], marker=MARKS.get(label, "o"), markersize=3.5, linewidth=1.5)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(True, which="major", color="#dddcd6", linewidth=0.6)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def add_legends(figure: Any, heads: Any, points: Sequence[Measured]) -> None:
    """The backends' colours above all, the methods' strokes in the panel of the heads."""
    from matplotlib.lines import Line2D

    backends = [name for name in COLOURS if any(point.backend == name for point in points)]
    keys = [Line2D([], [], color=COLOURS[name], marker="o", markersize=4, label=NAMES[name]) for name in backends]
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), frameon=False, fontsize=10)
    methods = [name for name in HEADS if any(point.label == name for point in points)]
    strokes = [Line2D([], [], color="#1d1d1b", linestyle=STYLES[name], marker=MARKS[name], markersize=4, label=name)
               for name in methods]  # fmt: skip
    if strokes:
        heads.legend(handles=strokes, loc="upper left", frameon=False, fontsize=8)
