"""A user's own picture and model: features by one pass of the tower, then every backend's head and all that follows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from core.clip.features import ClipFeatures
from core.parity.cases.catalogue import About, Case
from core.parity.cases.inputs import in_dtype
from core.parity.cases.methods import accuracy_on_pictures, first_and_lead, run_method
from core.parity.runs import Run, run_cases
from core.results.segmentation import Segmentation
from core.segment.query import ClassList, Query, parse_classes
from core.segment.segmenter import Segmenter

OF_THE_CLIP = ("model", "pretrained", "quick_gelu", "precision")  # the Segmenter's keywords that a CLIP in hand leaves out


def run_picture(
    image: np.ndarray, classes: Sequence[str], backends: Sequence[str], dtypes: Sequence[str], method: str, **settings: Any
) -> tuple[list[Run], dict[str, Segmentation]]:
    """A run and a result for each backend, of a picture (H, W, 3) uint8.

    Two cases: the method's patch embeddings in every dtype, from one pass of the tower; and the labels of the pixels as the
    Segmenter gives them (windows, resizing, PAMR where it is on), in float32, as the tower computes.
    settings: the Segmenter's keywords. Raises InputError for classes, a method or a model that cannot be had.
    """
    parsed = parse_classes(classes)
    first = Segmenter(method, backends[0], **settings)
    query, features = first.query(parsed), first.picture_features(image)
    text, options = query.text, dict(first.settings.options)
    heads = partial(_trials, features, method, text, external_features(first, image, features), options)
    about = About("picture", *accuracy_on_pictures(method, options))
    others = {name: value for name, value in settings.items() if name not in OF_THE_CLIP}
    runs, results = [], {}
    for name in backends:
        segmenter = first if name == backends[0] else Segmenter(method, name, model=first.clip, **others)
        cases = [Case(f"{method}: patch embeddings", about, heads, run_method)]
        if "float32" in dtypes:
            given = {"float32": {"x".join(map(str, image.shape[:2])): (image, text, features)}}
            pixels = partial(_pixels, segmenter, query, results)
            cases.append(Case(f"{method}: pixels", about, lambda dtype, given=given: given.get(dtype, {}), pixels))
        runs.append(run_cases(segmenter.ops, cases, dtypes))
    return runs, results


def external_features(segmenter: Segmenter, image: np.ndarray, features: ClipFeatures) -> np.ndarray | None:
    """What the method reads of another vision model (B, c, h', w'), of the picture's windows; None when it reads none."""
    if "external" not in segmenter.needs:
        return None
    passes = segmenter.passes(image, segmenter.view(image), features)
    return np.concatenate([segmenter.ops.to_numpy(segmenter.external_features(*one)) for one in passes])


def _trials(
    features: ClipFeatures, method: str, text: np.ndarray, external: Any, options: dict[str, Any], dtype: str
) -> dict[str, tuple]:
    label = " x ".join(map(str, (features.hidden[-1].shape[0], *features.grid)))
    external = None if external is None else external.astype(dtype)
    return {label: (in_dtype(features, dtype), method, text.astype(dtype), external, options)}


def _pixels(
    segmenter: Segmenter,
    query: Query,
    results: dict[str, Segmentation],
    ops: Any,
    image: np.ndarray,
    text: np.ndarray,
    features: ClipFeatures,
) -> dict[str, np.ndarray]:
    """The cosine logits (Q, H, W) and the labels (H, W), with the lead of the best class as a share of the largest logit."""
    with ops.undisturbed():
        logits = segmenter.logits(image, query, features)
        result = results[ops.name] = segmenter.decided(image, logits, query)
    logits = ops.to_numpy(logits)
    return {"logits": logits, "labels": result.labels, "labels margin": class_lead(logits, query.classes)}


def class_lead(logits: np.ndarray, classes: ClassList) -> np.ndarray:
    """By how much the best class leads the second at each place, of logits (Q, H, W), as a share of the largest logit."""
    by_class = np.stack([logits[np.equal(classes.phrase_class, c)].max(axis=0) for c in range(len(classes.names))], axis=-1)
    return first_and_lead(by_class)["labels margin"] / max(float(np.abs(logits).max()), 1e-30)
