"""How time and memory grow with the size of the picture, the number of classes and the number of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarking.probe import Point, probe

REPEAT = 3
PATIENCE = 2.0  # seconds of a call after which a series is not followed further


@dataclass(frozen=True)
class Series:
    """A case at growing sizes: x of each point, and what the case is given there."""

    panel: str
    label: str
    case: str
    points: Sequence[tuple[float, Point]]
    backends: Sequence[str] = ("torch", "jittor", "numpy")


@dataclass(frozen=True)
class Measured:
    """One point of a series on one backend: median seconds, and extra bytes above inputs and result."""

    panel: str
    label: str
    backend: str
    x: float
    seconds: float
    extra_bytes: int


PANELS = {
    "picture": "PAMR, 21 classes",
    "classes": "PAMR, 375 x 500",
    "lof": "LOF, width 768",
    "heads": "heads, width 768, 21 classes",
}
AXES = {"picture": "pixels", "classes": "classes", "lof": "tokens", "heads": "tokens"}
GRIDS = (14, 20, 28, 40, 56, 72)
HEADS = ("naclip", "scclip", "fsa")
SERIES = (
    Series("picture", "pamr", "pamr", [(n * n, {"picture": (n, n), "classes": 21}) for n in (256, 384, 512, 768, 1024)]),
    Series("classes", "pamr", "pamr", [(n, {"picture": (375, 500), "classes": n}) for n in (2, 8, 21, 60, 171)]),
    Series("lof", "lof", "lof", [(n, {"tokens": n, "width": 768}) for n in (196, 400, 784, 1600, 3136, 5184)]),
    *(
        Series("heads", method, "head", [
            (n * n, {"method": method, "classes": 21, "width": 768, "external_grid": (n, n),
                     "grid": (n // 2, n // 2) if method == "fsa" else (n, n)})
            for n in GRIDS
        ], backends=("torch", "jittor"))
        for method in HEADS
    ),
)  # fmt: skip


def measure_growth(backends: Sequence[str]) -> Iterator[Measured]:
    """All series on the backends, point by point; each series and backend in a process of its own."""
    for series in SERIES:
        for backend in [name for name in backends if name in series.backends]:
            yield from follow(series, backend)


def follow(series: Series, backend: str) -> Iterator[Measured]:
    """One series on one backend, to its end or to the first point that takes too long."""
    found = probe(series.case, backend, [point for _, point in series.points], REPEAT)
    for (x, _), figures in zip(series.points, found, strict=False):
        seconds = median(figures["seconds"])
        yield Measured(series.panel, series.label, backend, x, seconds, figures["extra_bytes"])
        if seconds > PATIENCE:
            return


def text_line(point: Measured) -> str:
    """One point for the terminal."""
    size = f"{point.x:.0f} {AXES[point.panel]}"
    return f"{point.label:8s} {size:16s} {point.backend:8s} {point.seconds * 1e3:10.1f} ms {point.extra_bytes / 1e6:10.1f} MB"


def as_record(points: Sequence[Measured]) -> list[dict[str, Any]]:
    """The points, ready for JSON."""
    return [vars(point) for point in points]
