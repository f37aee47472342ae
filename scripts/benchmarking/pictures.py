"""The rows of whole pictures: what a user waits for after the backbone, windows, second calls, and a GPU."""

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarking import cases
from benchmarking.lines import Line, describe, ratio
from benchmarking.measure import TOLERANCE, Disagreement, check_agreement, in_turns
from benchmarking.settings import FAST, Settings, by, random_backbone
from core.clip.features import ClipFeatures
from core.clip.view import model_size, to_pixels
from core.methods.registry import METHODS, apply_method, method_needs
from core.primitives.arrays import Array, as_numpy
from core.scenes import PAIRS
from core.segment.prediction import patch_logits
from core.segment.query import Query
from core.segment.segmenter import Segmenter

NACLIP_TARGET, WITH_PAMR_TARGET, WINDOWS_TARGET, GPU_TARGET = 0.10, 0.35, 1.1, 0.2
BATCH_SIZE = 8


def naclip(settings: Settings) -> Iterator[Line]:
    """All that naclip does after the backbone, to the labels of the picture, over the backbone."""
    backbone = random_backbone(settings.model, settings.device)
    image, words = picture(settings.picture), class_names(settings.classes)
    calls = {}
    for ops in settings.ops(FAST):
        for with_pamr in (False, True):
            segmenter = Segmenter("naclip", ops.name, model=backbone, pamr=with_pamr, window=0, device=settings.device)
            calls.setdefault("backbone", tower(segmenter, image))
            calls[ops.name, with_pamr] = after_backbone(segmenter, image, words)
    if not calls:
        return
    timed = in_turns(calls, settings.repeat)
    said = f"{by(settings.picture)}, {settings.classes} classes"
    for name, with_pamr in [name for name in calls if name != "backbone"]:
        what = f"naclip{' with PAMR' if with_pamr else ''} on {name}, {said}: all after the backbone over it"
        target = NACLIP_TARGET if not with_pamr else WITH_PAMR_TARGET if name == "jittor" else None
        bound = "at most" if target else None
        yield ratio("naclip", what, timed[name, with_pamr], timed["backbone"], bound, target, unit="")


def tower(segmenter: Segmenter, image: np.ndarray) -> Callable[[], ClipFeatures]:
    """The tower's pass over a picture that has been resized for it."""
    clip = segmenter.clip
    pixels = to_pixels(image, segmenter.view(image).size, clip.mean, clip.std)

    def call() -> ClipFeatures:
        features = clip.features(pixels)
        as_numpy(features.hidden[-1][:, 0])  # a GPU is done when this is here
        return features

    return call


def after_backbone(segmenter: Segmenter, image: np.ndarray, words: list[str]) -> Callable[[], Any]:
    """A whole call, of a segmenter that has resized the picture and has been through the tower."""
    passes = list(segmenter.passes(image, segmenter.view(image)))
    rested = copy(segmenter)
    rested.passes = lambda *_: iter(passes)
    return lambda: rested(image, words)


def windows(settings: Settings) -> Iterator[Line]:
    """A whole call with sliding windows over what its batches take by themselves; one by one gives the same."""
    backbone = random_backbone(settings.model, settings.device)
    trained = backbone.image_size
    words = class_names(settings.classes)
    for ops in settings.ops(FAST):
        one, many = (
            Segmenter("naclip", ops.name, model=backbone, pamr=False, window=trained, stride=trained // 2,
                      batch_size=size, device=settings.device)
            for size in (1, BATCH_SIZE)
        )  # fmt: skip
        image = picture(model_size(*settings.picture, many.settings.short_side, backbone.patch_size))
        check_same(ops, one, many, image, words)
        n = len(many.view(image).boxes)
        calls = {
            "batch": cases.settled(ops, first_batch(many, image, many.query(words))),
            "batched": partial(many, image, words),
            "one by one": partial(one, image, words),
        }
        timed = in_turns(calls, settings.repeat)
        at_once = min(n, BATCH_SIZE)
        own = n / at_once * timed["batch"].median
        what = f"{n} windows of {by(image.shape[:2])} on {ops.name}: the call over its batches"
        detail = f"{describe(timed['batched'])} / {n}/{at_once} of {describe(timed['batch'])}"
        seconds = {"over": timed["batched"].seconds, "under": timed["batch"].seconds}
        yield Line("windows", what, timed["batched"].median / own, "", "at most", WINDOWS_TARGET, detail, seconds)
        what = f"{n} windows on {ops.name}: one by one over batched"
        yield ratio("windows", what, timed["one by one"], timed["batched"])


def first_batch(segmenter: Segmenter, image: np.ndarray, query: Query) -> Callable[[], Array]:
    """The first batch of a picture's windows alone, from the tower to its logits in the size of the windows."""
    ops, view = segmenter.ops, segmenter.view(image)

    def call() -> Array:
        embeddings, _ = segmenter.embeddings(*next(segmenter.passes(image, view)), query)
        return ops.resize_bilinear(patch_logits(ops, embeddings, query.text), view.window)

    return call


def check_same(ops: Any, one: Segmenter, many: Segmenter, image: np.ndarray, words: list[str]) -> None:
    """Raises Disagreement unless windows one by one give the logits and labels that they give in batches.

    Labels may differ where two classes are closer than the logits' tolerance.
    """
    query = one.query(words)
    with ops.undisturbed():
        alone, batched = (as_numpy(segmenter.logits(image, query)) for segmenter in (one, many))
    check_agreement(f"windows one by one and in batches on {ops.name}", alone, batched)
    best = np.sort(batched, axis=0)
    clear = best[-1] - best[-2] > 2 * TOLERANCE * np.abs(batched).max() if len(words) > 1 else True
    labels = (segmenter(image, query).labels for segmenter in (one, many))
    if np.any(np.not_equal(*labels) & clear):
        raise Disagreement(f"windows one by one and in batches on {ops.name}: labels differ")


def second_call(settings: Settings) -> Iterator[Line]:
    """What a second call with the same words still encodes and compiles."""
    backbone = random_backbone(settings.model, settings.device)
    words = class_names(settings.classes)
    height, width = settings.picture
    for ops in settings.ops(FAST):
        segmenter = Segmenter("naclip", ops.name, model=backbone, device=settings.device)
        segmenter(picture((height, width)), words)
        encoded, compiled = backbone.n_encoded, compiled_files(ops)
        segmenter(picture((height * 4 // 5, width * 9 // 10)), words)
        what = f"second call on {ops.name}, another size, the same words:"
        yield Line("second-call", f"{what} phrases encoded", backbone.n_encoded - encoded, "", "at most", 0)
        if ops.name == "jittor":
            yield Line("second-call", f"{what} kernels compiled", compiled_files(ops) - compiled, "", "at most", 0)


def compiled_files(ops: Any) -> int:
    """The kernels in Jittor's cache folder."""
    if ops.name != "jittor":
        return 0
    from jt_backend.jittor import jt

    return sum(1 for _ in Path(jt.compiler.cache_path).rglob("*.so"))


def gpu(settings: Settings) -> Iterator[Line]:
    """Heads over the backbone in fp16, on a GPU."""
    import torch

    if not torch.cuda.is_available():
        yield Line("gpu", "heads over the backbone in fp16", detail="no GPU that PyTorch can use")
        return
    usable = [ops for ops in settings.ops(FAST) if ops.name == "torch" or jittor_on_gpu()]
    if len(usable) < len(settings.ops(FAST)):
        yield Line("gpu", "heads on Jittor over the backbone in fp16", detail="no GPU that Jittor can use")
    for ops in usable:
        yield from over_backbone(ops, settings, "cuda", "fp16")


def jittor_on_gpu() -> bool:
    """Whether Jittor can compute on a GPU here."""
    from jt_backend.start import runtime

    return runtime.gpu_usable()


def over_backbone(ops: Any, settings: Settings, device: str, precision: str) -> Iterator[Line]:
    """Every method's head, and all that naclip does after the backbone, over the backbone."""
    backbone = random_backbone(settings.model, device, precision)
    ops.select_device(device)
    image, words = picture(settings.picture), class_names(settings.classes)
    segmenter = Segmenter("naclip", ops.name, model=backbone, pamr=False, window=0, device=device)
    calls: dict[str, Callable[[], Any]] = {"backbone": tower(segmenter, image)}
    ((features, _),) = segmenter.passes(image, segmenter.view(image), attention=True)
    features = features.to(ops)
    text = cases.native(ops, backbone.text_embeddings(words), device)
    rng, (rows, columns) = np.random.default_rng(cases.SEED), features.grid
    external = cases.native(ops, rng.standard_normal((1, settings.width, 2 * rows, 2 * columns), dtype=np.float32), device)
    for method in METHODS:
        read = external if "external" in method_needs(method) else None
        calls[method] = cases.settled(ops, lambda m=method, x=read: apply_method(ops, features, m, text, x)[0])
    calls["naclip to labels"] = after_backbone(segmenter, image, words)
    timed = in_turns(calls, settings.repeat)
    for name in [*METHODS, "naclip to labels"]:
        what = f"{name} on {ops.name} and {device}, over the backbone in {precision}"
        yield ratio("gpu", what, timed[name], timed["backbone"], "at most", GPU_TARGET, unit="")


def picture(size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8, seeded."""
    return np.random.default_rng(cases.SEED).integers(0, 256, (*size, 3), dtype=np.uint8)


def class_names(n: int) -> list[str]:
    """N names that every CLIP reads, the embedded one too."""
    pairs = (f"{one} {other}" for one, other in product(PAIRS, repeat=2) if one != other)
    return list(islice(chain(PAIRS, pairs), n))
