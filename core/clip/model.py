"""What a CLIP must offer: to the heads, to text, and to reports. `torch_backend.ClipBackbone` is one that does."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from core.backends import load_provider
from core.clip.features import ClipFeatures, HeadWeights
from core.errors import InputError
from core.primitives.arrays import Array


class ClipModel(Protocol):
    """A frozen CLIP with a ViT image tower that has a class token.

    The tower. patch_size, image_size: pixels of a patch and of the trained picture. n_layers: L, the image tower's blocks.
    mean, std: of the pixels in 0..1, RGB. weights: the last block's and the tower's end, shared by all its features.

    Its own settings. preset: what suits this model, by the names of `core.segment.settings`; empty for most. templates: of
    its text, each with one "{}".

    Reports. name, pretrained: how it was asked for. weights_sha256: of the weights' file, or of the weights. activation:
    "gelu" or "quick_gelu". device, precision, dtype: where and in what it computes. n_encoded: phrases encoded so far, those
    read from a cache left out.
    """

    patch_size: int
    image_size: int
    n_layers: int
    mean: Sequence[float]
    std: Sequence[float]
    weights: HeadWeights
    preset: Mapping[str, Any]
    templates: Sequence[str]
    name: str
    pretrained: str | None
    weights_sha256: str
    activation: str
    device: Any
    precision: str
    dtype: str
    n_encoded: int

    def features(self, pixels: Array, attention: bool = False) -> ClipFeatures:
        """One pass of pixels (B, 3, H, W) float32, normalised, up to the last block; with block L-2's attention if asked."""

    def text_embeddings(self, phrases: list[str]) -> np.ndarray:
        """(Q, E) float32 of unit length: each phrase in every template, averaged."""

    def image_embeddings(self, pixels: Array) -> np.ndarray:
        """(B, E) float32 of pixels of the trained size: the class token through the whole tower; not normalised."""


CONTRACT = tuple(sorted({*ClipModel.__annotations__, "features", "text_embeddings", "image_embeddings"}))
"""The names that a CLIP has."""

FACTS = ("name", "pretrained", "weights_sha256", "activation", "device", "precision", "dtype")


def is_clip(model: Any) -> bool:
    """Whether something offers what heads and text need; the facts of reports are not asked for."""
    return all(callable(getattr(model, name, None)) for name in ("features", "text_embeddings"))


def load_clip_model(
    model: Any,
    pretrained: Any = None,
    *,
    device: str | None = None,
    quick_gelu: bool | None = None,
    precision: str | None = None,
) -> ClipModel:
    """A CLIP that is given as one, or else as `ClipBackbone` takes it: "embedded", an open_clip name, or an open_clip model.

    Raises InputError when it cannot be had, or options are given for one that is complete.
    """
    if is_clip(model):
        if (pretrained, quick_gelu, precision) != (None, None, None):
            raise InputError("a CLIP in hand is complete: leave pretrained, quick_gelu and precision out")
        return model
    pretrained = None if pretrained is None else str(pretrained)
    make = load_provider("clip")
    return make(model, pretrained, device=device, quick_gelu=quick_gelu, precision=precision or "fp32")


def clip_facts(clip: ClipModel) -> dict[str, Any]:
    """What a report says of a CLIP, ready for JSON."""
    facts = {name: getattr(clip, name) for name in FACTS}
    pretrained = None if clip.pretrained is None else str(clip.pretrained)
    return {"model": facts.pop("name"), **facts, "pretrained": pretrained, "device": str(clip.device),
            "templates": list(clip.templates)}  # fmt: skip
