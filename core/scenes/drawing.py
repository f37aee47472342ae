"""Drawing a layout: signed distances of the shapes, textures of the backgrounds, anti-aliased composition.

Lengths are in units of the picture's short side, so that one layout can be drawn at any height and width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.scenes.vocabulary import COLOURS

GRAIN_SIDE = 128
"""Short side in pixels up to which grain is one pixel fine; beyond it grain grows with the picture."""

STAR_INNER = 0.47
"""Inner radius of the five-pointed star over its outer one's 1.05."""


@dataclass(frozen=True)
class Item:
    """One object: its phrase, place (x, y), radius, and looks; lengths over the short side.

    `tint` is added to the colour's RGB; a phrase of the shape alone ("circle") has `tint` itself as its colour.
    """

    pair: str
    x: float
    y: float
    radius: float
    angle: float
    stretch: float
    tint: tuple[float, float, float]
    gradient: tuple[float, float]
    rim: float


@dataclass(frozen=True)
class Layout:
    """What a picture shows, before pixels: items back to front, background, texture scale and texture seed."""

    items: tuple[Item, ...]
    background: str
    texture_scale: float
    texture_seed: int


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sector = 2 * np.pi / 5
    r = np.hypot(x, y)
    angle = np.mod(np.arctan2(x, -y) + sector / 2, sector) - sector / 2
    px, py = r * np.cos(angle), np.abs(r * np.sin(angle))
    edge_x, edge_y = STAR_INNER * np.cos(sector / 2) - 1.05, STAR_INNER * np.sin(sector / 2)
    return ((px - 1.05) * edge_y - py * edge_x) / np.hypot(edge_x, edge_y)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    up = -1.05 * y - 0.1
    return np.hypot(x, up - 0.6 * np.sqrt(np.abs(x))) - 0.85


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    ax, ay = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(ax - 0.3, ay - 0.95), np.maximum(ay - 0.3, ax - 0.95))


DISTANCE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.92,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.8,
    "triangle": lambda x, y: np.maximum(0.866 * np.abs(x) - 0.5 * y, y) - 0.55,
    "star": _star,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.72) - 0.24,
    "cross": _cross,
    "heart": _heart,
    "moon": lambda x, y: np.maximum(np.hypot(x, y) - 0.98, 0.8 - np.hypot(x - 0.5, y)),
}
"""Signed distance (negative inside, y down) to each shape of about unit radius."""


@lru_cache(maxsize=256)
def _smooth_weights(n: int, cells: int) -> np.ndarray:
    """(n, cells) weights that interpolate a lattice of `cells` values smoothly at n pixel centres."""
    position = (np.arange(n) + 0.5) / n * (cells - 1)
    low = np.minimum(position.astype(int), cells - 2)
    t = position - low
    t = t * t * (3 - 2 * t)
    weights = np.zeros((n, cells), np.float32)
    weights[np.arange(n), low] = 1 - t
    weights[np.arange(n), low + 1] = t
    return weights


def _cloud(rng: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Smooth noise (height, width) with about `cells` bumps along the short side."""
    short = min(height, width)
    rows, columns = (max(2, round(cells * side / short) + 1) for side in (height, width))
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    return _smooth_weights(height, rows) @ lattice @ _smooth_weights(width, columns).T


def _grain(rng: np.random.Generator, height: int, width: int, short: int) -> np.ndarray:
    """White noise (height, width), coarser than pixels in a picture whose short side is over GRAIN_SIDE."""
    factor = min(1.0, GRAIN_SIDE / short)
    rows, columns = (max(2, round(side * factor)) for side in (height, width))
    if factor == 1:
        return rng.standard_normal((height, width), dtype=np.float32)
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    return _smooth_weights(height, rows) @ lattice @ _smooth_weights(width, columns).T


def _colour(base: tuple[float, float, float], *terms: tuple[tuple[float, float, float], np.ndarray]) -> np.ndarray:
    """Base RGB plus RGB-weighted maps (H, W): (H, W, 3)."""
    out = np.full((*terms[0][1].shape, 3), base, np.float32)
    for weight, value in terms:
        out += value[..., None] * np.asarray(weight, np.float32)
    return out


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column coordinates of pixel centres over the short side: (H, 1) and (1, W)."""
    short = min(height, width)
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / short
    return y, (np.arange(width, dtype=np.float32)[None, :] + 0.5) / short


def draw_background(name: str, height: int, width: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """A texture (H, W, 3) float32 in about 0..1; `scale` > 1 makes its pattern coarser."""
    y, x = _grid(height, width)
    short = min(height, width)
    fine = _grain(rng, height, width, short)
    low = _cloud(rng, height, width, 5 / scale)
    phase, light = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.15)
    if name == "grass":
        shifts = (round(i * max(1.0, short / GRAIN_SIDE)) for i in range(5))
        blades = sum(np.roll(fine, shift, axis=0) for shift in shifts) / 5**0.5
        out = _colour((0.28, 0.47, 0.14), ((0.05, 0.10, 0.04), blades), ((0.03, 0.05, 0.0), low))
    elif name == "sky":
        cloud = 1 / (1 + np.exp(1.5 - 3 * _cloud(rng, height, width, 4 / scale)))
        haze = np.broadcast_to(y / y[-1], (height, width))
        out = _colour((0.50, 0.72, 0.95), ((0.22, 0.12, 0.02), cloud), ((0.15, 0.10, 0.0), haze))
    elif name == "sand":
        out = _colour((0.84, 0.74, 0.54), ((0.05, 0.05, 0.045), fine), ((0.03, 0.03, 0.02), low))
    elif name == "water":
        frequency = rng.uniform(45, 64) / scale
        wave = np.sin(frequency * y + 1.2 * np.sin(11 / scale * x + phase) + phase + 0.8 * low)
        out = _colour((0.08, 0.38, 0.55), ((0.04, 0.09, 0.10), wave))
    elif name == "wood":
        rings = np.sin(70 / scale * (x + 0.12 * low) + phase + 0.02 * y)
        out = _colour((0.47, 0.31, 0.17), ((0.07, 0.05, 0.035), rings), ((0.02, 0.02, 0.015), fine))
    else:
        out = _brick(y, x, scale, phase, fine)
    return out * np.float32(light)


def _brick(y: np.ndarray, x: np.ndarray, scale: float, phase: float, fine: np.ndarray) -> np.ndarray:
    brick_h, brick_w, joint = 0.09 * scale, 0.18 * scale, 0.018 * scale
    y = y + 0.03 * phase
    row = np.floor(y / brick_h)
    x = x + 0.05 * phase + row % 2 * brick_w / 2
    mortar = ((y % brick_h < joint) | (x % brick_w < joint)).astype(np.float32)[..., None]
    tone = 0.1 * np.sin(7.3 * row + 3.7 * np.floor(x / brick_w)) + 0.03 * fine
    bricks = _colour((0.58, 0.30, 0.22), ((1.0, 0.6, 0.5), tone))
    return bricks * (1 - mortar) + np.float32([0.74, 0.71, 0.67]) * mortar


def draw(layout: Layout, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a layout.

    Returns the picture (H, W, 3) uint8 and the labels (H, W) int64: i where item i covers at least half
    of a pixel and nothing lies over it, len(items) on the background. Edges are anti-aliased over one pixel.
    """
    rng = np.random.default_rng(layout.texture_seed)
    image = draw_background(layout.background, height, width, layout.texture_scale, rng)
    labels = np.full((height, width), len(layout.items), np.int64)
    for index, item in enumerate(layout.items):
        _draw_item(image, labels, index, item, rng)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), labels


def _draw_item(image: np.ndarray, labels: np.ndarray, index: int, item: Item, rng: np.random.Generator) -> None:
    """Paint one item over `image` and `labels` in place, within its bounding box."""
    height, width = labels.shape
    short = min(height, width)
    reach = 1.3 * item.radius * max(item.stretch, 1 / item.stretch) * short
    top, bottom = max(0, int(item.y * short - reach)), min(height, int(item.y * short + reach) + 2)
    left, right = max(0, int(item.x * short - reach)), min(width, int(item.x * short + reach) + 2)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5) / short - item.y
    x = (np.arange(left, right, dtype=np.float32)[None, :] + 0.5) / short - item.x
    cos, sin = np.float32(np.cos(item.angle)), np.float32(np.sin(item.angle))
    u = (x * cos + y * sin) / np.float32(item.radius * item.stretch)
    v = (y * cos - x * sin) / np.float32(item.radius / item.stretch)
    *colour, shape = item.pair.split()
    depth = -DISTANCE[shape](u, v) * np.float32(item.radius * short)
    alpha = np.clip(depth + 0.5, 0, 1)[..., None]
    shade = 1 + item.gradient[0] * u + item.gradient[1] * v
    shade = shade + 0.025 * _grain(rng, *shade.shape, short)
    shade = shade * (1 - item.rim * (depth < 0.12 * item.radius * short))
    base = np.asarray(COLOURS[colour[0]] if colour else 0, np.float32) + np.asarray(item.tint, np.float32)
    region = image[top:bottom, left:right]
    region += alpha * (base * shade[..., None] - region)
    labels[top:bottom, left:right][alpha[..., 0] >= 0.5] = index
