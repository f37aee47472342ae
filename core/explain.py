"""What a method saw of a picture, to be studied: outliers, the attention of one patch, the repair, the feedback.

All of it comes from one pass over the picture as a whole, without windows and without PAMR, whatever the segmenter's own
settings are: a window has its own patches, so there would be as many answers as windows.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.classes import ClassList, parse_classes
from core.errors import InputError
from core.pictures import read_picture
from core.results import Segmentation

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from core.segmenter import Segmenter

NO_FEEDBACK = {"isolate": False, "prune": False, "ensemble": False}
NEGLIGIBLE = 1e-6  # a principal component this much shorter than the first is rounding


@dataclass(frozen=True)
class Sight:
    """What a method saw of one picture; None for what it has none of.

    image (H, W, 3) uint8. patch: (row, column) of the chosen patch on the grid of `attention` and `corrected`, (h, w), the
    shares of its attention that go to each patch, mean over heads, before and after FSA's correction. grid: that (h, w).
    outliers (h', w') booleans on CLIP's own grid, which for proxyclip and fsa may be another. repair: before and after,
    (h', w', 3) in 0..1, see `principal_colours`. feedback: the result without and with it.
    """

    method: str
    image: np.ndarray
    grid: tuple[int, int]
    patch: tuple[int, int]
    attention: np.ndarray | None
    corrected: np.ndarray | None
    outliers: np.ndarray | None
    repair: tuple[np.ndarray, np.ndarray] | None
    feedback: tuple[Segmentation, Segmentation] | None


def explain(
    segmenter: "Segmenter",
    picture: "str | Path | Image.Image | np.ndarray",
    classes: Sequence[str],
    at: tuple[int, int] | None = None,
) -> "dict[str, Image.Image]":
    """Drawings of what the method saw: "attention" and, where it has them, "outliers", "repair" and "feedback".

    The arguments and errors are `look`'s.
    """
    from core.sheets import draw_sheets

    return draw_sheets(look(segmenter, picture, classes, at))


def look(
    segmenter: "Segmenter",
    picture: "str | Path | Image.Image | np.ndarray",
    classes: Sequence[str],
    at: tuple[int, int] | None = None,
) -> Sight:
    """What the segmenter's method saw of a picture as a whole.

    at: (row, column) of a pixel, whose patch's attention is kept; None for the `default_patch`. What comes before the
    feedback is the same method with FSA's three strategies off, which is the prediction that is fed back.

    Raises InputError for a picture or classes that the segmenter cannot take, or a place outside the picture.
    """
    parsed = parse_classes(classes)
    image = read_picture(picture)
    check_place(at, image)
    text = segmenter.backbone.text_embeddings(list(parsed.phrases))

    ops, seen = segmenter.ops, {}
    after = _labelled(segmenter, image, text, parsed, seen)
    grid = seen["grid"]
    patch = default_patch(after.labels, grid) if at is None else patch_at(at, image, grid)
    attention, corrected = (_shares(ops, seen.get(name), patch, grid) for name in ("attention", "corrected_attention"))
    outliers, repair, feedback = None, None, None
    if "outliers" in seen:
        own_grid = tuple(side // segmenter.backbone.patch_size for side in segmenter.resized(image).shape[:2])
        outliers = ops.to_numpy(seen["outliers"])[0].astype(bool).reshape(own_grid)
        tokens = (ops.to_numpy(seen[name])[0] for name in ("before_repair", "after_repair"))
        repair = tuple(colours.reshape(*own_grid, 3) for colours in principal_colours(*tokens))
    if corrected is not None:
        seen.clear()
        without = copy(segmenter)
        without.options = segmenter.options | NO_FEEDBACK
        feedback = _labelled(without, image, text, parsed), after
    return Sight(segmenter.method, image, grid, patch, attention, corrected, outliers, repair, feedback)


def _labelled(
    segmenter: "Segmenter", image: np.ndarray, text: np.ndarray, classes: ClassList, seen: dict[str, Any] | None = None
) -> Segmentation:
    """The picture (H, W, 3) labelled from one pass over the whole of it, without PAMR."""
    ops = segmenter.ops
    with ops.no_grad():
        logits = segmenter.whole_logits(segmenter.resized(image)[None], text, seen=seen)
        return segmenter.result(image, ops.resize_bilinear(logits, image.shape[:2])[0], classes)


def check_place(at: tuple[int, int] | None, image: np.ndarray) -> None:
    """Raises InputError for a place (row, column) outside the picture (H, W, 3)."""
    height, width = image.shape[:2]
    if at is not None and not (0 <= at[0] < height and 0 <= at[1] < width):
        rows, columns = f"rows 0 to {height - 1}", f"columns 0 to {width - 1}"
        raise InputError(f"the place {at[0]},{at[1]} lies outside the picture, which has {rows} and {columns}")


def patch_at(at: tuple[int, int], image: np.ndarray, grid: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the patch that covers the pixel `at` of a picture (H, W, 3)."""
    return at[0] * grid[0] // image.shape[0], at[1] * grid[1] // image.shape[1]


def default_patch(labels: np.ndarray, grid: tuple[int, int]) -> tuple[int, int]:
    """The patch deepest inside the largest object: labels (H, W) -> (row, column) on the grid.

    The ground is the class of most patches along the picture's border; the largest object is the class with most patches
    besides, or the ground where there is no other. Deepest: left when the region's rim is taken off again and again.
    """
    rows, columns = (((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(grid, labels.shape, strict=True))
    patches = labels[rows][:, columns]
    border = np.concatenate([patches[0], patches[-1], patches[:, 0], patches[:, -1]])
    counts = np.bincount(patches.ravel())
    ground = np.bincount(border).argmax()
    if counts.max() < counts.sum():
        counts[ground] = 0
    left = inner = patches == counts.argmax()
    while inner.any():
        left, inner = inner, _without_rim(inner)
    places = np.argwhere(left)
    return tuple(places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()].tolist())


def _without_rim(region: np.ndarray) -> np.ndarray:
    """The patches (h, w) of a region whose 8 neighbours are in it too."""
    padded = np.pad(region, 1)
    rows, columns = region.shape
    return np.all([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)], axis=0)


def _shares(ops: Any, attention: Any, patch: tuple[int, int], grid: tuple[int, int]) -> np.ndarray | None:
    """The shares (h, w), of sum 1, that a patch's attention gives to all patches: the mean over heads of (1, H, N, N)."""
    if attention is None:
        return None
    row = ops.to_numpy(attention[0][:, patch[0] * grid[1] + patch[1]]).mean(axis=0)
    return (row / row.sum()).reshape(grid)


def principal_colours(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches (N, D) before and after the repair as colours (N, 3) in 0..1, equal features in equal colours.

    Red, green and blue are the first three principal components of the repaired patches, from their 1st to their 99th
    percentile; what lies beyond, as outliers may, is cut off. An axis points to where its largest loading is positive.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    mean = after.mean(axis=0)
    _, lengths, axes = np.linalg.svd(after - mean, full_matrices=False)
    axes = axes[:3][lengths[:3] > NEGLIGIBLE * max(lengths[0], 1e-30)]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.sign(largest)
    projected = [(x - mean) @ axes.T for x in (before, after)]
    low, high = np.percentile(projected[1], (1, 99), axis=0)
    colours = [np.full((len(x), 3), 0.5) for x in projected]
    for colour, x in zip(colours, projected, strict=True):
        colour[:, : len(axes)] = np.clip((x - low) / np.maximum(high - low, 1e-30), 0, 1)
    return tuple(colours)
