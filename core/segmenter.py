"""`Segmenter`: a picture and a list of words in, a labelled picture out.

The only place that knows pictures, windows, text and heads together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.arrays import Array
from core.backends import check_backend, load_backend
from core.classes import ClassList, parse_classes
from core.errors import InputError
from core.external import self_features
from core.features import ClipFeatures
from core.methods import check_method, method_needs, method_options, output_grid, patch_tokens
from core.pictures import read_picture
from core.prediction import class_probabilities, label_pixels, patch_logits
from core.preprocess import model_size, normalise, resize_picture
from core.results import Segmentation
from core.saved_features import fitting
from core.versions import installed_versions
from core.windows import WindowMean, cut_windows, window_boxes

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

LOGIT_SCALE = 40.0  # NACLIP's, section 4.1 of the paper
PAMR_DILATIONS, PAMR_ITERATIONS = (8, 16), 10


class Segmenter:
    """Segments pictures by words, without training.

    method: a name of `METHODS`; `method_options` are its own, such as `gaussian_std=5.0`. backend: "jittor", "torch" or
    "numpy", which computes everything after the backbone. model: "embedded" (no download), an open_clip name with
    `pretrained` a tag or a file, an open_clip model in hand, or a `ClipBackbone`. device: "cpu", "cuda" or None for a GPU
    where one can be used. quick_gelu: overrides the activation found for the weights. precision: of the tower's products,
    "fp32", "fp16" or "bf16".

    pamr: refine the logits along the picture's edges; None does it for naclip, as published. window, stride: pixels of the
    sliding windows; 0 sees the picture whole. short_side: of the picture as the tower sees it. Unless given, these three
    and `logit_scale` are the model's own where it has some, else 1.5 times the model's trained size in windows of that
    size and half of it as stride (336, 224, 112 for ViT-B/16), and 40. whole_patches: see `model_size`. prob_thd,
    area_thd: see `label_pixels`.
    batch_size: windows at a time; it changes no result. external: the vision model that proxyclip and fsa read, NAME or
    NAME:FILE (`torch_backend.external`), or "self" for the CLIP's own middle layer.

    Raises InputError for any setting that cannot work here.
    """

    def __init__(
        self,
        method: str = "naclip",
        backend: str = "jittor",
        *,
        model: Any = "embedded",
        pretrained: "str | Path | None" = None,
        device: str | None = None,
        quick_gelu: bool | None = None,
        precision: str | None = None,
        pamr: bool | None = None,
        window: int | None = None,
        stride: int | None = None,
        short_side: int | None = None,
        whole_patches: bool = True,
        logit_scale: float | None = None,
        prob_thd: float = 0.0,
        area_thd: float = 0.0,
        batch_size: int = 8,
        external: str | None = None,
        **method_options: Any,
    ) -> None:
        check_method(method, method_options)
        check_backend(backend)
        self.needs = method_needs(method, method_options)
        self.external = _check_external(method, external, self.needs)
        _check_settings(window, stride, short_side, logit_scale, prob_thd, area_thd, batch_size)
        backbone = _backbone(model, pretrained, device, quick_gelu, precision)
        self.ops = load_backend(backend)
        self.ops.select_device(device)
        self.backbone = backbone
        self.external_model = _external_model(self.external, backbone)
        self.method, self.backend, self.batch_size = method, backend, batch_size
        self.pamr = method == "naclip" if pamr is None else pamr
        self.prob_thd, self.area_thd, self.whole_patches = prob_thd, area_thd, whole_patches
        self._settle_sizes(window, stride, short_side)
        preset = backbone.loaded.preset
        self.logit_scale = float(preset.get("logit_scale", LOGIT_SCALE) if logit_scale is None else logit_scale)
        self.pamr_dilations = tuple(preset.get("pamr_dilations", PAMR_DILATIONS))
        self.pamr_iterations = int(preset.get("pamr_iterations", PAMR_ITERATIONS))
        self.options = _method_settings(method, preset, method_options)

    def __call__(
        self,
        picture: "str | Path | Image.Image | np.ndarray",
        classes: Sequence[str],
        features: ClipFeatures | None = None,
    ) -> Segmentation:
        """The labels and class probabilities of one picture.

        picture: a path, a PIL image or (H, W, 3) uint8 RGB. classes: one string a class, synonyms joined by commas.
        features: of this picture from an earlier pass (`core.saved_features.picture_features`), so that the tower rests.

        Raises InputError for a picture that cannot be read, classes that are empty, doubled or unknown to the model, or
        features that are not this model's of this picture, seen as here.
        """
        parsed = parse_classes(classes)
        image = read_picture(picture)
        text = self.backbone.text_embeddings(list(parsed.phrases))
        with self.ops.no_grad():
            logits = self.logits(image, text, features)
            return self.result(image, logits, parsed)

    def logits(self, image: np.ndarray, text: np.ndarray, features: ClipFeatures | None = None) -> Array:
        """Cosine logits (Q, H, W) of phrases at every pixel: image (H, W, 3) uint8, text (Q, E); a native array."""
        if features is not None:
            features = fitting(features, self, image)
        seen = self.resized(image)
        logits = self._windowed(seen, text, features) if self.window else self.whole_logits(seen[None], text, features)
        logits = self.ops.resize_bilinear(logits, image.shape[:2])
        if self.pamr:
            guide = self.ops.asarray(np.ascontiguousarray(image.transpose(2, 0, 1)[None]) / np.float32(255), like=logits)
            logits = self.ops.pamr(guide, logits, self.pamr_iterations, self.pamr_dilations)
        return logits[0]

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the result, ready for JSON."""
        loaded = self.backbone.loaded
        return {
            "method": self.method, "options": self.options, "external": self.external,
            "external_sha256": getattr(self.external_model, "weights_sha256", None),
            "backend": self.backend, "device": str(self.backbone.device), "precision": self.backbone.precision,
            "model": loaded.name, "pretrained": None if loaded.pretrained is None else str(loaded.pretrained),
            "weights_sha256": self.backbone.weights_sha256, "activation": loaded.activation,
            "short_side": self.short_side, "window": self.window, "stride": self.stride,
            "whole_patches": self.whole_patches,
            "logit_scale": self.logit_scale, "prob_thd": self.prob_thd, "area_thd": self.area_thd,
            "pamr": {"num_iter": self.pamr_iterations, "dilations": list(self.pamr_dilations)} if self.pamr else None,
            "templates": list(loaded.templates), "versions": installed_versions(),
        }  # fmt: skip

    def resized(self, image: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 in the size in which the tower, or its windows, see it."""
        size = model_size(*image.shape[:2], self.short_side, self.backbone.patch_size, self.whole_patches)
        return resize_picture(image, size)

    def features(self, images: np.ndarray, attention: bool | None = None) -> ClipFeatures:
        """What the heads read of pictures or windows (B, h, w, 3) uint8 of the tower's size.

        attention: with block L-2's attention; None for where the method reads it.
        """
        pixels = normalise(images, self.backbone.loaded.mean, self.backbone.loaded.std)
        return self.backbone.features(pixels, attention="attention" in self.needs if attention is None else attention)

    def whole_logits(
        self,
        images: np.ndarray,
        text: np.ndarray,
        features: ClipFeatures | None = None,
        seen: dict[str, Array] | None = None,
    ) -> Array:
        """Cosine logits (B, Q, h, w) of pictures or windows (B, h, w, 3) uint8, each in one pass; a native array.

        seen: filled with what the method saw (`core.methods.parts`), and with its "grid", (rows, columns).
        """
        features = self.features(images) if features is None else features
        external = self._external_features(images, features)
        tokens = patch_tokens(self.ops, features, self.method, text, external, seen, **self.options)
        grid = output_grid(features, self.method, external)
        if seen is not None:
            seen["grid"] = grid
        logits = patch_logits(self.ops, tokens, text, grid)
        return self.ops.resize_bilinear(logits, images.shape[1:3])

    def _windowed(self, image: np.ndarray, text: np.ndarray, features: ClipFeatures | None = None) -> Array:
        height, width = image.shape[:2]
        boxes = window_boxes(height, width, self.window, self.stride)
        mean = WindowMean(len(text), height, width)
        for first in range(0, len(boxes), self.batch_size):
            batch = boxes[first : first + self.batch_size]
            given = None if features is None else features.pictures(first, first + len(batch))
            logits = self.whole_logits(cut_windows(image, batch), text, given)
            for box, window_logits in zip(batch, self.ops.to_numpy(logits), strict=True):
                mean.add(box, window_logits)
        return self.ops.asarray(mean.mean()[None], like=logits)

    def _external_features(self, images: np.ndarray, features: ClipFeatures) -> Array | None:
        if "external" not in self.needs:
            return None
        return self_features(self.ops, features) if self.external == "self" else self.external_model.features(images)

    def result(self, image: np.ndarray, logits: Array, parsed: ClassList) -> Segmentation:
        """Labels and probabilities from the picture (H, W, 3) and its logits (Q, H, W)."""
        probabilities = class_probabilities(self.ops, logits, parsed.phrase_class, self.logit_scale)
        labels = label_pixels(self.ops, probabilities, self.prob_thd, self.area_thd)
        scores = np.asarray(self.ops.to_numpy(probabilities), dtype=np.float32)
        if len(parsed.names) < len(parsed.phrases):  # else the softmax sums to 1 already
            scores = scores / scores.sum(axis=0, keepdims=True)
        return Segmentation(self.ops.to_numpy(labels).astype(np.int32), scores, list(parsed.names), image)

    def _settle_sizes(self, window: int | None, stride: int | None, short_side: int | None) -> None:
        preset, trained, patch = self.backbone.loaded.preset, self.backbone.image_size, self.backbone.patch_size
        self.short_side = preset.get("short_side", trained * 3 // 2) if short_side is None else short_side
        self.window = preset.get("window", trained) if window is None else window
        if self.window % patch:
            raise InputError(f"the window must be a multiple of the model's patch of {patch} pixels, not {self.window}")
        if stride is not None and not self.window:
            raise InputError("a stride needs a window: give --window too")
        if self.window and stride is not None and stride > self.window:
            raise InputError(f"the stride must be at most the window ({self.window}), not {stride}")
        self.stride = (stride or self.window // 2) if self.window else 0


def _check_external(method: str, external: str | None, needs: set[str]) -> str | None:
    if "external" in needs and external is None:
        raise InputError(f"{method} reads another vision model: name it in external, or self for the CLIP's own middle layer")
    if external is not None and "external" not in needs:
        raise InputError(f"{method} reads no external model: leave external out, or take proxyclip or fsa")
    return external


def _external_model(external: str | None, backbone: Any) -> Any:
    if external in (None, "self"):
        return None
    from torch_backend.external import load_external

    return load_external(external, backbone.device)


def _backbone(
    model: Any, pretrained: Any, device: str | None, quick_gelu: bool | None, precision: str | None
) -> Any:
    try:
        from torch_backend.backbone import ClipBackbone
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "open_clip"):
            raise
        raise InputError("the CLIP backbone needs PyTorch and open_clip: pip install torch open_clip_torch") from None
    if isinstance(model, ClipBackbone):
        if (pretrained, quick_gelu, precision) != (None, None, None):
            raise InputError("a ClipBackbone is complete: leave pretrained, quick_gelu and precision out")
        return model
    pretrained = None if pretrained is None else str(pretrained)
    return ClipBackbone(model, pretrained, device=device, quick_gelu=quick_gelu, precision=precision or "fp32")


def _method_settings(method: str, preset: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """The method's options: the published ones, over them the model's own, over them what was asked for."""
    published = method_options(method)
    return published | {name: preset[name] for name in published if name in preset} | chosen


def _check_settings(
    window: int | None, stride: int | None, short_side: int | None, logit_scale: float | None,
    prob_thd: float, area_thd: float, batch_size: int,
) -> None:  # fmt: skip
    if window is not None and window < 0:
        raise InputError(f"window must be at least one patch, or 0 to see the picture whole, not {window}")
    if stride is not None and stride < 1:
        raise InputError(f"stride must be at least 1 pixel, not {stride}")
    if window and stride is not None and stride > window:
        raise InputError(f"the stride must be at most the window ({window}), not {stride}")
    if short_side is not None and short_side < 1:
        raise InputError(f"short_side must be at least 1 pixel, not {short_side}")
    if logit_scale is not None and not 0 < logit_scale < float("inf"):
        raise InputError(f"logit_scale must be a number above 0, not {logit_scale}")
    if not 0 <= prob_thd <= 1 or not 0 <= area_thd <= 1:
        raise InputError(f"prob_thd and area_thd must lie in 0..1, not {prob_thd} and {area_thd}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
