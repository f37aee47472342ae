"""One pass of the tower kept for later, for other methods and other classes; checked before it is used again."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.clip.features import ClipFeatures
from core.clip.model import ClipModel
from core.clip.view import View
from core.errors import InputError
from core.primitives.arrays import as_numpy

Shown = dict[str, str | int]
"""Which picture it is, by the SHA-256 of its pixels, and how it is shown to the tower."""


def shown(image: np.ndarray, view: View, window: int, stride: int) -> Shown:
    """The `source` of the features of a picture (H, W, 3) uint8, by what decides them."""
    height, width = view.size
    how = {"height": height, "width": width, "window": window, "stride": stride}
    return {"picture_sha256": hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()} | how


def joined(batches: Sequence[ClipFeatures], source: Shown) -> ClipFeatures:
    """Batches of a picture's windows as one record in NumPy, with what it is of."""
    hidden = [_joined(states) for states in zip(*(batch.hidden for batch in batches), strict=True)]
    attention = None if batches[0].attention is None else _joined([batch.attention for batch in batches])
    return replace(batches[0], hidden=hidden, attention=attention, source=source)


def fitting(features: ClipFeatures, clip: ClipModel, view: View, own: Shown, attention: str | None = None) -> ClipFeatures:
    """The features, if they are what this CLIP makes of the picture `own` in this view, with the CLIP's own weights.

    attention: the method that reads block L-2's attention, None where it need not be there. Raises InputError that says what
    differs. A picture can only be told from another by features that have a `source`.
    """
    difference = next(_differences(features, clip, view, own, attention), None)
    if difference:
        raise InputError(f"the features given do not fit: {difference}")
    return replace(features, weights=clip.weights)


def _joined(arrays: Any) -> np.ndarray:
    return np.concatenate([as_numpy(x) for x in arrays])


def _differences(
    features: ClipFeatures, clip: ClipModel, view: View, own: Shown, attention: str | None
) -> Iterator[str]:
    """Yields what differs, the most telling first; later checks rely on earlier ones."""
    n_layers, width = len(features.hidden), features.hidden[-1].shape[-1]
    own_layers, own_width = clip.n_layers - 1, clip.weights["ln_1.weight"].shape[0]
    if (n_layers, width) != (own_layers, own_width):
        yield f"they hold {n_layers} layers of width {width}, and this model has {own_layers} of width {own_width}"
    if features.weights is not clip.weights and features.weights.sha256 != clip.weights.sha256:
        yield "they are another model's, as the weights of their last block show; take that model, or save them anew"
    source = own if features.source is None else features.source
    if source.get("picture_sha256") != own["picture_sha256"]:
        yield "they are of another picture"
    theirs, ours = (f"{s.get('height')} x {s.get('width')}" for s in (source, own))
    if theirs != ours:
        yield f"they are of the picture resized to {theirs}, and here it is {ours}; give the same short side"
    for name in ("window", "stride"):
        if source.get(name) != own[name]:
            yield f"they were made with {name} {source.get(name)}, and here it is {own[name]}"
    grid = tuple(side // clip.patch_size for side in view.window)
    if tuple(features.grid) != grid:
        yield f"their grid is {_by(features.grid)}, and the tower sees {_by(grid)} patches; give the same sizes"
    n_pictures = features.hidden[-1].shape[0]
    if n_pictures != len(view.boxes):
        yield f"they are of {n_pictures} windows, and here there are {len(view.boxes)}; give the same window and stride"
    if any(tuple(x.shape) != tuple(features.hidden[-1].shape) for x in features.hidden):
        yield "their layers are of different shapes"
    n_heads, n_tokens = clip.weights.n_heads, 1 + grid[0] * grid[1]
    if features.attention is not None and tuple(features.attention.shape) != (n_pictures, n_heads, n_tokens, n_tokens):
        yield "their attention is of another shape"
    if attention is not None and features.attention is None:
        yield f"{attention} reads the attention of the block before the last, which they lack; save them anew"


def _by(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]}"
