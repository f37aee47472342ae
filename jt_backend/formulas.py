"""What the kernels compute, in Jittor's plain operators: the GPU's path, and what the kernels are tested against."""

from collections.abc import Iterator, Sequence

import numpy as np

from core.pamr import DIRECTIONS
from jt_backend import jt

Taps = tuple[np.ndarray, np.ndarray, np.ndarray]  # of one axis: index below, index above, weight of the one above


def constants(values: Sequence[float] | np.ndarray, like: jt.Var) -> jt.Var:
    """Numbers in the dtype of `like`: Jittor rounds a Python number to float32 even beside float64."""
    dtype = str(like.dtype)
    return jt.array(np.asarray(values, dtype=dtype), dtype=dtype)


def softmax(x: jt.Var, axis: int) -> jt.Var:
    """exp(x - max) / sum along one axis."""
    return jt.nn.softmax(x, dim=axis % x.ndim)


def k_smallest(x: jt.Var, k: int) -> tuple[jt.Var, jt.Var]:
    """The k smallest of each row of x (M, n), ascending, and their indices."""
    indices, values = jt.argsort(x, dim=1)
    return values[:, :k], indices[:, :k]


def layer_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float) -> jt.Var:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    last = (x.ndim - 1,)
    centred = x - jt.mean(x, dims=last, keepdims=True)
    variance = jt.mean(jt.sqr(centred), dims=last, keepdims=True)
    return centred / jt.sqrt(variance + constants([eps], x)) * weight + bias


def resize_bilinear(x: jt.Var, rows: Taps, columns: Taps) -> jt.Var:
    """X (P, h, w) read between the taps of `core.resize.bilinear_taps` for the rows and the columns."""
    top, bottom, down = rows
    left, right, across = columns
    down, across = constants(down[:, None], x), constants(across, x)
    x = x[:, _indices(top)] * (1 - down) + x[:, _indices(bottom)] * down
    return x[:, :, _indices(left)] * (1 - across) + x[:, :, _indices(right)] * across


def pamr_step(mask: jt.Var, affinity: jt.Var, dilations: Sequence[int]) -> jt.Var:
    """The sum over neighbours n of mask seen from n times affinity_n: mask (B, C, H, W), affinity (B, n, H, W)."""
    refined = jt.zeros_like(mask)
    for n, shifted in enumerate(_neighbours(mask, dilations)):
        refined = refined + shifted * affinity[:, n : n + 1]
    return refined


def pamr_affinity(image: jt.Var, dilations: Sequence[int], eps: float, sharpness: float) -> jt.Var:
    """Softmax over n of -mean over channels of |x - x_n| / (eps + sharpness * std): (B, 8 |dilations|, H, W)."""
    n = 9 * len(dilations)
    eps_var, sharpness_var = constants([eps], image), constants([sharpness], image)
    neighbours = list(_neighbours(image, dilations))
    mean = image * len(dilations)
    for x in neighbours:
        mean = mean + x
    mean = mean / n
    squares = jt.sqr(image - mean) * len(dilations)
    for x in neighbours:
        squares = squares + jt.sqr(x - mean)
    spread = eps_var + sharpness_var * jt.sqrt(squares / (n - 1))
    return softmax(jt.stack([-jt.mean(jt.abs(image - x) / spread, dims=(1,)) for x in neighbours], dim=1), 1)


def _neighbours(x: jt.Var, dilations: Sequence[int]) -> Iterator[jt.Var]:
    """The field seen from each neighbour in turn, its edge repeated outside."""
    height, width = x.shape[-2:]
    for d in dilations:
        for row, column in DIRECTIONS:
            rows = _indices(np.clip(np.arange(height) + d * row, 0, height - 1))
            columns = _indices(np.clip(np.arange(width) + d * column, 0, width - 1))
            yield x[:, :, rows][:, :, :, columns]


def _indices(values: np.ndarray) -> jt.Var:
    return jt.array(values.astype(np.int32))
