"""Seeded inputs that every machine makes alike: uniform numbers, and arithmetic that IEEE 754 rounds the same everywhere.

None of them is subnormal: once Jittor has computed, its process takes such numbers for 0.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.clip.features import ClipFeatures, HeadWeights, weight_shapes
from core.primitives.arrays import as_numpy

SEED = 20261121
N_PHRASES, N_CHANNELS = 5, 6  # of the seeded text, and of the seeded external features

Draw = Callable[[np.random.Generator, Sequence[int], str], np.ndarray]  # shape and dtype -> array


def generator(name: str) -> np.random.Generator:
    """The numbers of the case `name`: its own, so that no other case moves them."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def normal(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Numbers of mean 0 and variance 1 within -3..3: the sum of three uniform ones, which takes no logarithm."""
    total = rng.random(shape) + rng.random(shape) + rng.random(shape)
    return (2 * total - 3).astype(dtype)


def uniform(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Numbers in 0..1."""
    return rng.random(shape).astype(dtype)


def seeded_features(
    rng: np.random.Generator,
    batch: int = 2,
    grid: tuple[int, int] = (3, 5),
    width: int = 16,
    n_heads: int = 2,
    embed: int = 8,
    layers: int = 12,
    dtype: str = "float32",
    activation: str = "quick_gelu",
    attention: bool = True,
    states: Draw = normal,
) -> ClipFeatures:
    """`ClipFeatures` of random numbers from a tower of `layers` blocks, in NumPy.

    attention: with block L-2's, whose rows sum to about 1. states: draws each hidden state (B, 1 + N, D).
    """
    shapes = weight_shapes(width, embed)
    weights = {name: normal(rng, shape, dtype) / np.sqrt(np.array(shape[-1], dtype)) for name, shape in shapes.items()}
    n = 1 + grid[0] * grid[1]
    hidden = [states(rng, (batch, n, width), dtype) for _ in range(layers - 1)]
    weighed = uniform(rng, (batch, n_heads, n, n), dtype) * np.array(2 / n, dtype) if attention else None
    return ClipFeatures(hidden, HeadWeights(weights, n_heads, activation), grid, weighed)


def seeded_inputs(
    rng: np.random.Generator,
    batch: int = 2,
    embed: int = 8,
    dtype: str = "float32",
    places: tuple[int, int] = (4, 3),
) -> dict[str, np.ndarray]:
    """What methods read beside the features: `text` (5, E), `external` (B, 6, h', w') on a grid of `places`."""
    return {"text": normal(rng, (N_PHRASES, embed), dtype), "external": normal(rng, (batch, N_CHANNELS, *places), dtype)}


def in_dtype(features: ClipFeatures, dtype: str) -> ClipFeatures:
    """The same record as NumPy arrays of another precision."""
    weights = features.weights
    arrays = {name: as_numpy(x).astype(dtype) for name, x in weights.arrays.items()}
    head = HeadWeights(arrays, weights.n_heads, weights.activation, weights.eps)
    attention = None if features.attention is None else as_numpy(features.attention).astype(dtype)
    return ClipFeatures([as_numpy(x).astype(dtype) for x in features.hidden], head, features.grid, attention, features.source)


def fingerprint(value: Any) -> str:
    """SHA-256 of an input: arrays by dtype, shape and bytes, features by all that they hold, the rest as it is written."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, ClipFeatures):
        head = value.weights
        value = [list(value.hidden), sorted(head.arrays.items()), head.n_heads, head.activation, head.eps,
                 tuple(value.grid), value.attention]  # fmt: skip
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, np.ndarray) or hasattr(value, "detach"):
        array = as_numpy(value)
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__}{len(value)}".encode())
        for part in value:
            _feed(digest, part)
    else:
        digest.update(repr(value).encode())
