"""A user's own picture and model: features by the Torch backbone once, then every backend's head and all that follows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from core.backends import load_backend
from core.clip.features import ClipFeatures
from core.clip.saved import picture_features
from core.external import self_features
from core.parity.cases.catalogue import About, Case
from core.parity.cases.inputs import in_dtype
from core.parity.cases.methods import accuracy_on_pictures, first_and_lead, run_method
from core.parity.runs import Run, run_cases
from core.results.segmentation import Segmentation
from core.segment.query import ClassList, parse_classes
from core.segment.segmenter import Segmenter
from core.windows import cut_windows, window_boxes


def run_picture(
    image: np.ndarray, classes: Sequence[str], backends: Sequence[str], dtypes: Sequence[str], method: str, **settings: Any
) -> tuple[list[Run], dict[str, Segmentation]]:
    """A run and a result for each backend, of a picture (H, W, 3) uint8.

    Two cases: the method's patch embeddings in every dtype, from one pass of the tower; and the labels of the pixels as the
    Segmenter gives them (windows, resizing, PAMR where the method has it), in float32, as the tower computes.
    settings: the Segmenter's. Raises InputError for classes, a method or a model that cannot be had.
    """
    parsed = parse_classes(classes)
    first = Segmenter(method, backends[0], **settings)
    others = {name: value for name, value in settings.items() if name not in ("model", "pretrained")}
    features = picture_features(first, image)
    text = first.backbone.text_embeddings(list(parsed.phrases))
    external = external_features(first, image, features)
    runs, results = [], {}
    for name in backends:
        segmenter = first if name == backends[0] else Segmenter(method, name, model=first.backbone, **others)
        inputs = partial(_trials, features, method, text, external, segmenter.options)
        about = About("picture", *accuracy_on_pictures(method))
        cases = [Case(f"{method}: patch embeddings", about, inputs, run_method)]
        pixels = partial(_pixels, segmenter, parsed, results)
        if "float32" in dtypes:
            given = {"float32": {"x".join(map(str, image.shape[:2])): (image, text, features)}}
            cases.append(Case(f"{method}: pixels", about, lambda dtype, given=given: given.get(dtype, {}), pixels))
        runs.append(run_cases(segmenter.ops, cases, dtypes))
    return runs, results


def external_features(segmenter: Segmenter, image: np.ndarray, features: ClipFeatures) -> np.ndarray | None:
    """What the method reads of another vision model (B, c, h', w'), of the picture's windows; None when it reads none."""
    if "external" not in segmenter.needs:
        return None
    ops = load_backend("numpy")
    if segmenter.external == "self":
        return self_features(ops, features)
    seen = segmenter.resized(image)
    windows = seen[None]
    if segmenter.window:
        windows = cut_windows(seen, window_boxes(*seen.shape[:2], segmenter.window, segmenter.stride))
    return ops.to_numpy(segmenter.external_model.features(windows))


def _trials(
    features: ClipFeatures, method: str, text: np.ndarray, external: Any, options: dict[str, Any], dtype: str
) -> dict[str, tuple]:
    label = " x ".join(map(str, (features.hidden[-1].shape[0], *features.grid)))
    external = None if external is None else external.astype(dtype)
    return {label: (in_dtype(features, dtype), method, text.astype(dtype), external, options)}


def _pixels(
    segmenter: Segmenter,
    parsed: ClassList,
    results: dict[str, Segmentation],
    ops: Any,
    image: np.ndarray,
    text: np.ndarray,
    features: ClipFeatures,
) -> dict[str, np.ndarray]:
    """The cosine logits (Q, H, W) and the labels (H, W), with the lead of the best class as a share of the largest logit."""
    with ops.no_grad():
        logits = segmenter.logits(image, text, features)
        result = results[ops.name] = segmenter.result(image, logits, parsed)
    logits = ops.to_numpy(logits)
    by_class = np.stack([logits[np.equal(parsed.phrase_class, c)].max(axis=0) for c in range(len(parsed.names))], axis=-1)
    lead = first_and_lead(by_class)["labels margin"] / max(float(np.abs(logits).max()), 1e-30)
    return {"logits": logits, "labels": result.labels, "labels margin": lead}
