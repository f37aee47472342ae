"""The layers of a CLIP tower that the heads need: linear map, layer norm and the two activations."""

import math

import numpy as np

from core.primitives.arrays import Array
from core.primitives.ops import asarray

__all__ = ["gelu", "layer_norm", "linear", "quick_gelu"]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""$x W^\top + b$: x (..., D_in), weight (D_out, D_in), bias (D_out,) -> (..., D_out)."""
    y = np.matmul(asarray(x), asarray(weight).T)
    return y if bias is None else y + asarray(bias)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    r"""$(x - \mu) / \sqrt{\sigma^2 + \epsilon} \cdot w + b$ over the last axis, $\sigma^2$ with divisor n.

    x (..., D), weight and bias (D,). Ba, Kiros and Hinton, "Layer Normalization", 2016, eq. 4.
    """
    x = asarray(x)
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * asarray(weight) + asarray(bias)


def gelu(x: Array) -> Array:
    r"""$x \Phi(x)$ with the exact normal distribution function. Hendrycks and Gimpel, "GELUs", 2016."""
    x = asarray(x)
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def quick_gelu(x: Array) -> Array:
    r"""$x \, \mathrm{sigmoid}(1.702 x)$, the activation of OpenAI's CLIP weights."""
    x = asarray(x)
    return x / (1 + np.exp(-1.702 * x))


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function, entry by entry through the C library (NumPy has none)."""
    flat = np.fromiter(map(math.erf, x.ravel().tolist()), dtype=np.float64, count=x.size)
    return flat.reshape(x.shape).astype(x.dtype)
