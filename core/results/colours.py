"""Colours for classes, as far apart to the eye as they can be and always the same, and for heat maps."""

from functools import cache

import numpy as np

# Björn Ottosson, "A perceptual color space for image processing" (2020): linear sRGB -> cone responses -> Oklab.
_CONES = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_OKLAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip
_DISTINCT = 255
HEAT = ((0, (15, 10, 60)), (0.25, (95, 20, 130)), (0.5, (205, 45, 80)), (0.75, (250, 140, 30)), (1, (255, 250, 160)))


def oklab(colours: np.ndarray) -> np.ndarray:
    """(N, 3) sRGB values in 0..255 -> (N, 3) Oklab (lightness, green-red, blue-yellow): distances as seen."""
    srgb = np.asarray(colours, dtype=np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _CONES.T) @ _OKLAB.T


def class_colours(n_classes: int) -> np.ndarray:
    """(n_classes, 3) uint8 RGB colours; a class keeps its colour however many classes there are.

    Each colour is the one farthest from those before it (the largest of the smallest Oklab distances, over a grid of
    vivid colours). After 255 the colours repeat.
    """
    return _distinct_colours()[np.arange(n_classes) % _DISTINCT]


@cache
def _distinct_colours() -> np.ndarray:
    """(255, 3) uint8: farthest-point order over the vivid colours of a 16 x 16 x 16 grid, from a red on."""
    levels = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    points = oklab(grid)
    lightness, chroma = points[:, 0], np.hypot(points[:, 1], points[:, 2])
    vivid = (lightness > 0.4) & (lightness < 0.93) & (chroma > 0.08) & (chroma < 0.22)
    grid, points = grid[vivid], points[vivid]
    chosen = [int(np.argmin(np.abs(grid - (238, 68, 51)).sum(axis=1)))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < _DISTINCT:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return grid[chosen].astype(np.uint8)


def heat_colours(values: np.ndarray) -> np.ndarray:
    """0..1 -> uint8 colours from dark to bright."""
    stops = [stop for stop, _ in HEAT]
    channels = [np.interp(values, stops, [colour[i] for _, colour in HEAT]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
