"""One pass of the tower kept for later, for other methods and other classes; checked before it is used again."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.arrays import as_numpy
from core.errors import InputError
from core.features import ClipFeatures, HeadWeights
from core.windows import cut_windows, window_boxes

if TYPE_CHECKING:
    from core.segmenter import Segmenter


def picture_features(segmenter: "Segmenter", image: np.ndarray) -> ClipFeatures:
    """What the tower makes of a picture (H, W, 3) uint8 as the segmenter shows it, in NumPy.

    A batch of all the picture's windows in the order of `window_boxes`, or without windows of the picture itself; with
    block L-2's attention, so that every method can read it, and with its `source`.
    """
    seen = segmenter.resized(image)
    images = seen[None]
    if segmenter.window:
        images = cut_windows(seen, window_boxes(*seen.shape[:2], segmenter.window, segmenter.stride))
    firsts = range(0, len(images), segmenter.batch_size)
    batches = [segmenter.features(images[i : i + segmenter.batch_size], attention=True) for i in firsts]
    hidden = [_joined(states) for states in zip(*(batch.hidden for batch in batches), strict=True)]
    attention = _joined([batch.attention for batch in batches])
    return replace(batches[0], hidden=hidden, attention=attention, source=_source(segmenter, image))


def fitting(features: ClipFeatures, segmenter: "Segmenter", image: np.ndarray) -> ClipFeatures:
    """The features, if they are what `picture_features` would give, with the model's own weights.

    Raises InputError that says what differs. A picture can only be told from another by features that have a `source`.
    """
    difference = next(_differences(features, segmenter, image), None)
    if difference:
        raise InputError(f"the features given do not fit: {difference}")
    return replace(features, weights=segmenter.backbone.weights)


def _source(segmenter: "Segmenter", image: np.ndarray) -> dict[str, str | int]:
    """Which picture it is, by the SHA-256 of its pixels, and how it is shown to the tower."""
    height, width = segmenter.resized(image).shape[:2]
    shown = {"height": height, "width": width, "window": segmenter.window, "stride": segmenter.stride}
    return {"picture_sha256": hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()} | shown


def _joined(arrays: Any) -> np.ndarray:
    return np.concatenate([as_numpy(x) for x in arrays])


def _differences(features: ClipFeatures, segmenter: "Segmenter", image: np.ndarray) -> Iterator[str]:
    """Yields what differs, the most telling first; later checks rely on earlier ones."""
    backbone = segmenter.backbone
    n_layers, width = len(features.hidden), features.hidden[-1].shape[-1]
    own_layers, own_width = backbone.n_layers - 1, backbone.weights["ln_1.weight"].shape[0]
    if (n_layers, width) != (own_layers, own_width):
        yield f"they hold {n_layers} layers of width {width}, and this model has {own_layers} of width {own_width}"
    if not _same_weights(features.weights, backbone.weights):
        yield "they are another model's, as the weights of their last block show; take that model, or save them anew"
    own = _source(segmenter, image)
    source = own if features.source is None else features.source
    if source.get("picture_sha256") != own["picture_sha256"]:
        yield "they are of another picture"
    theirs, ours = (f"{s.get('height')} x {s.get('width')}" for s in (source, own))
    if theirs != ours:
        yield f"they are of the picture resized to {theirs}, and here it is {ours}; give the same short side"
    for name in ("window", "stride"):
        if source.get(name) != own[name]:
            yield f"they were made with {name} {source.get(name)}, and here it is {own[name]}"
    boxes = [(0, 0, own["height"], own["width"])]
    if own["window"]:
        boxes = window_boxes(own["height"], own["width"], own["window"], own["stride"])
    grid = tuple(side // backbone.patch_size for side in boxes[0][2:])
    if features.grid != grid:
        yield f"their grid is {_by(features.grid)}, and the tower sees {_by(grid)} patches; give the same sizes"
    n_pictures = features.hidden[-1].shape[0]
    if n_pictures != len(boxes):
        yield f"they are of {n_pictures} windows, and here there are {len(boxes)}; give the same window and stride"
    if any(tuple(x.shape) != tuple(features.hidden[-1].shape) for x in features.hidden):
        yield "their layers are of different shapes"
    n_heads, n_tokens = backbone.weights.n_heads, 1 + grid[0] * grid[1]
    if features.attention is not None and tuple(features.attention.shape) != (n_pictures, n_heads, n_tokens, n_tokens):
        yield "their attention is of another shape"
    if "attention" in segmenter.needs and features.attention is None:
        yield f"{segmenter.method} reads the attention of the block before the last, which they lack; save them anew"


def _by(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]}"


def _same_weights(a: HeadWeights, b: HeadWeights) -> bool:
    if (a.n_heads, a.activation, a.eps) != (b.n_heads, b.activation, b.eps):
        return False
    return all(np.array_equal(as_numpy(a[name]), as_numpy(b[name])) for name in b.arrays)
