"""What a method saw of a picture, to be studied: outliers, the attention of one patch, the repair, the feedback.

All of it comes from one pass over the picture as a whole, without windows and without PAMR, whatever the segmenter's own
settings are: a window has its own patches, so there would be as many answers as windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.clip.features import ClipFeatures
from core.errors import InputError
from core.primitives.arrays import Array
from core.results.segmentation import Segmentation
from core.segment.pictures import read_picture
from core.segment.prediction import patch_logits
from core.segment.query import Query
from core.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

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


def look(
    segmenter: Segmenter,
    picture: "str | Path | Image.Image | np.ndarray",
    classes: Sequence[str] | Query,
    at: tuple[int, int] | None = None,
    features: ClipFeatures | None = None,
) -> Sight:
    """What the segmenter's method saw of a picture as a whole.

    at: (row, column) of a pixel, whose patch's attention is kept; None for the `default_patch`. features: of the whole
    picture, from an earlier pass. What comes before the feedback is the prediction that is fed back.

    Raises InputError for a picture or classes that the segmenter cannot take, or a place outside the picture.
    """
    image, query, ops = read_picture(picture), segmenter.query(classes), segmenter.ops
    check_place(at, image)
    with ops.undisturbed():
        (one,) = segmenter.passes(image, segmenter.view(image).whole, features)
        embeddings, seen = segmenter.embeddings(*one, query)
        after = _labelled(segmenter, image, embeddings, query)
        grid = tuple(embeddings.shape[1:3])
        patch = default_patch(after.labels, grid) if at is None else patch_at(at, image, grid)
        attention, corrected = (_shares(ops, seen.get(name), patch, grid) for name in ("attention", "corrected_attention"))
        outliers, repair, feedback = None, None, None
        if "outliers" in seen:
            outliers = ops.to_numpy(seen["outliers"])[0].astype(bool)
            repair = principal_colours(*(ops.to_numpy(seen[name])[0] for name in ("before_repair", "after_repair")))
        if "before_feedback" in seen:
            feedback = _labelled(segmenter, image, seen["before_feedback"], query), after
    return Sight(segmenter.settings.method, image, grid, patch, attention, corrected, outliers, repair, feedback)


def _labelled(segmenter: Segmenter, image: np.ndarray, embeddings: Array, query: Query) -> Segmentation:
    """The picture (H, W, 3) labelled from embeddings (1, h, w, E) of the whole of it, without PAMR."""
    logits = patch_logits(segmenter.ops, embeddings, query.text)
    size = segmenter.view(image).size
    logits = segmenter.ops.resize_bilinear(segmenter.ops.resize_bilinear(logits, size), image.shape[:2])
    return segmenter.decided(image, logits[0], query)


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
    """Patches (h, w, D) before and after the repair as colours (h, w, 3) in 0..1, equal features in equal colours.

    Red, green and blue are the first three principal components of the repaired patches, from their 1st to their 99th
    percentile; what lies beyond, as outliers may, is cut off. An axis points to where its largest loading is positive.
    """
    grid = before.shape[:2]
    before, after = (np.asarray(x, dtype=np.float64).reshape(-1, x.shape[-1]) for x in (before, after))
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
    return tuple(colour.reshape(*grid, 3) for colour in colours)
