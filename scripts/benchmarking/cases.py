"""The computations that are measured, each ready to be called: inputs made, on the backend and its device, and settled."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.clip.features import ClipFeatures, HeadWeights
from core.methods.feedback import guarded_log, kl_divergence
from core.methods.registry import apply_method, method_needs
from core.parity.cases.inputs import SEED, normal, seeded_features
from core.primitives.arrays import Array

HEAD_WIDTH, N_REGIONS = 64, 8
Call = Callable[[], Array]


def pamr(ops: Any, device: str, picture: tuple[int, int], classes: int) -> Call:
    """PAMR as published, affinity and resize included, of a mask that has the picture's size."""
    image, mask = pamr_inputs(ops, device, picture, classes)
    return settled(ops, lambda: ops.pamr(image, mask, num_iter=10, dilations=(8, 16)))


def pamr_inputs(ops: Any, device: str, picture: tuple[int, int], classes: int) -> tuple[Array, Array]:
    """A picture (1, 3, H, W) and a mask (1, C, H, W)."""
    rng = np.random.default_rng(SEED)
    image, mask = (native(ops, rng.random((1, n, *picture), dtype=np.float32), device) for n in (3, classes))
    return image, mask


def lof(ops: Any, device: str, tokens: int, width: int) -> Call:
    """SC-CLIP's local outlier factors of one picture's patches."""
    (x,) = lof_inputs(ops, device, tokens, width)
    return settled(ops, lambda: ops.local_outlier_factor(x))


def lof_inputs(ops: Any, device: str, tokens: int, width: int) -> tuple[Array]:
    """Points (N, D)."""
    return (native(ops, np.random.default_rng(SEED).standard_normal((tokens, width), dtype=np.float32), device),)


def kl(ops: Any, device: str, places: int, classes: int) -> Call:
    """FSA's divergence of every place's prediction from every other's: (1, N, N)."""
    prediction = kl_inputs(ops, device, places, classes)[0][None]

    def divergence() -> Array:
        log = guarded_log(ops, prediction)
        return kl_divergence(ops, prediction, log, log)

    return settled(ops, divergence)


def kl_inputs(ops: Any, device: str, places: int, classes: int) -> tuple[Array]:
    """Predictions (N, C), summing to 1 over the classes."""
    odds = np.exp(2 * np.random.default_rng(SEED).standard_normal((places, classes), dtype=np.float32))
    return (native(ops, odds / odds.sum(axis=1, keepdims=True), device),)


def head(
    ops: Any,
    device: str,
    method: str,
    grid: tuple[int, int],
    classes: int,
    width: int,
    external_grid: tuple[int, int] | None = None,
) -> Call:
    """A method's head alone, from the tower's features on a grid, and an external model's on another where it reads one."""
    rng = np.random.default_rng(SEED)
    needs, embed = method_needs(method), width * 2 // 3
    features = clip_features(ops, device, rng, grid, width, embed, attention="attention" in needs)
    text = native(ops, unit_rows(rng, classes, embed), device)
    external = None
    if "external" in needs:
        rows, columns = external_grid or grid
        field = regions(rng, (1, rows * columns, width)).transpose(0, 2, 1).reshape(1, width, rows, columns)
        external = native(ops, np.ascontiguousarray(field), device)
    return settled(ops, lambda: apply_method(ops, features, method, text, external)[0])


CASES: dict[str, Callable[..., Call]] = {"pamr": pamr, "lof": lof, "kl": kl, "head": head}


def clip_features(
    ops: Any, device: str, rng: np.random.Generator, grid: tuple[int, int], width: int, embed: int, attention: bool
) -> ClipFeatures:
    """Features of one picture from a tower of 12 blocks and heads of 64, native to `ops`, of seeded numbers."""
    n_heads = max(width // HEAD_WIDTH, 1)
    seeded = seeded_features(rng, 1, grid, width, n_heads, embed, attention=attention, states=regions)
    weights = {name: native(ops, x, device) for name, x in seeded.weights.arrays.items()}
    hidden = [native(ops, x, device) for x in seeded.hidden]
    weighed = native(ops, seeded.attention, device) if attention else None
    return ClipFeatures(hidden, HeadWeights(weights, n_heads), grid, weighed)


def regions(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Tokens (B, n, D) of 8 regions: cosines of about 2/3 within a region and 1/3 across, as a middle layer's are."""
    batch, n, width = shape
    shared, own = (normal(rng, (batch, k, width), dtype) for k in (1, N_REGIONS))
    region = rng.integers(N_REGIONS, size=(batch, n, 1))
    return shared + np.take_along_axis(own, region, axis=1) + normal(rng, shape, dtype)


def unit_rows(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """(n, width) rows of unit length, as text embeddings are."""
    x = normal(rng, (n, width), "float32")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def native(ops: Any, x: np.ndarray, device: str) -> Array:
    """`x` as a backend's array where it will be computed with, all of it there."""
    x = ops.asarray(x)
    return settle(ops, x.to(device) if ops.name == "torch" else x)


def settled(ops: Any, compute: Call) -> Call:
    """The computation without gradients, over only when its result is there."""

    def call() -> Array:
        with ops.undisturbed():
            return settle(ops, compute())

    return call


def settle(ops: Any, x: Array) -> Array:
    """Waits for x: Jittor computes when it must, a GPU while Python goes on."""
    if ops.name == "jittor":
        x.sync(True)
    elif ops.name == "torch" and x.is_cuda:
        import torch

        torch.cuda.synchronize()
    return x
