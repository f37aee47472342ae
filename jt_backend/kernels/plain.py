"""What the kernels compute, in Jittor's plain operators: the GPU's path, and what the kernels are tested against."""

from collections.abc import Iterator, Sequence

import numpy as np

from core.primitives.pamr import DIRECTIONS
from jt_backend.jittor import jt

EXCLUDED = -1e30  # a logit as good as minus infinity, which Jittor's kernels are not compiled for

Taps = tuple[np.ndarray, np.ndarray, np.ndarray]  # of one axis: index below, index above, weight of the one above


def array_like(values: np.ndarray, like: jt.Var) -> jt.Var:
    """NumPy's numbers in the dtype of `like`."""
    dtype = str(like.dtype)
    return jt.array(values.astype(dtype), dtype=dtype)


def softmax(x: jt.Var, axis: int) -> jt.Var:
    """exp(x - max) / sum along one axis."""
    return jt.nn.softmax(x, dim=axis % x.ndim)


def softmax_at_least(x: jt.Var, least: jt.Var, scale: float) -> jt.Var:
    """Softmax of `scale` times each row of x (M, n) over the entries that are at least the row's `least` (M,)."""
    return _softmax_where(x >= least.reshape([-1, 1]), x * scale)


def _softmax_where(kept: jt.Var, x: jt.Var) -> jt.Var:
    return softmax(jt.ternary(kept, x, x * 0 + EXCLUDED), 1)


def link_weights(divergence: jt.Var, sharpness: float, mass: float | None) -> jt.Var:
    """`core.primitives.links.link_weights` of rows (M, n)."""
    similarity = jt.cast(1 / (1 + jt.float64(divergence)), str(divergence.dtype))  # equal ones stay equal, as in the kernel
    logits = similarity * jt.exp(similarity * sharpness)
    if mass is None:
        return softmax(logits, 1)
    descending = -jt.argsort(-similarity, dim=1)[1]
    held = jt.cumsum(softmax(descending, 1), dim=1)
    kept = jt.ternary(held <= mass, descending, descending[:, :1] + descending * 0)
    return _softmax_where(similarity >= jt.min(kept, dim=1, keepdims=True), logits)


def row_sum(x: jt.Var) -> jt.Var:
    """Sums of the rows of x (M, n)."""
    return jt.sum(x, dim=1)


def row_max(x: jt.Var) -> jt.Var:
    """Largest entries of the rows of x (M, n)."""
    return jt.max(x, dim=1)


def k_smallest(x: jt.Var, k: int) -> tuple[jt.Var, jt.Var]:
    """The k smallest of each row of x (M, n), ascending, and their indices."""
    indices, values = jt.argsort(x, dim=1)
    return values[:, :k], indices[:, :k]


def nearest_of_products(products: jt.Var, squares: jt.Var, first: int, k: int, noise: float) -> tuple[jt.Var, jt.Var]:
    """Squared distances to the k nearest other points, ascending, and their indices, of the points `first`, first + 1, ...

    products (R, N) of these with all points, squares (N,) of the points' lengths; what is below `noise` of the lengths is 0.
    """
    rows, n = products.shape
    own = jt.array(np.arange(first, first + rows, dtype=np.int32)[:, None])
    far = jt.cast(jt.array(np.arange(n, dtype=np.int32)[None]) == own, str(products.dtype)) * 1e30
    distances, indices = k_smallest(squares[None] - products * 2 + far, k)
    lengths = squares[first : first + rows, None]
    distances = distances + lengths
    sound = distances > (lengths + squares[indices]) * noise
    return jt.ternary(sound, distances, distances * 0), indices


def linear(x: jt.Var, weight: jt.Var, bias: jt.Var | None) -> jt.Var:
    """X (..., D_in) times the transpose of weight (D_out, D_in), plus bias."""
    y = jt.matmul(x.reshape([-1, x.shape[-1]]), weight.transpose(1, 0)).reshape([*x.shape[:-1], weight.shape[0]])
    return y if bias is None else y + bias


def matmul(a: jt.Var, b: jt.Var, transpose_b: bool = False) -> jt.Var:
    """The product of two matrices, or of two batches of them, where one of them may be a batch of one."""
    if transpose_b:
        b = b.permute(*range(b.ndim - 2), b.ndim - 1, b.ndim - 2)
    if a.ndim == b.ndim == 2:
        return jt.matmul(a, b)
    batch = max(a.shape[0], b.shape[0])
    return jt.bmm(*(x if x.shape[0] == batch else x.expand([batch, *x.shape[1:]]) for x in (a, b)))


def attention(q: jt.Var, k: jt.Var, v: jt.Var, n_heads: int, scale: float, addition: jt.Var | None) -> jt.Var:
    """softmax(scale q k' + addition) v of each head: q (B, N, D), k and v (B, M, D) -> (B, N, D)."""
    (batch, n, width), depth = q.shape, q.shape[2] // n_heads
    q, k, v = (
        x.reshape([batch, -1, n_heads, depth]).permute(0, 2, 1, 3).reshape([batch * n_heads, -1, depth]) for x in (q, k, v)
    )
    mixed = jt.bmm(attention_weights(q, k, scale, addition), v)
    return mixed.reshape([batch, n_heads, n, depth]).permute(0, 2, 1, 3).reshape([batch, n, width])


def attention_weights(a: jt.Var, b: jt.Var, scale: float, addition: jt.Var | None) -> jt.Var:
    """softmax(scale a b' + addition) over the last axis: a (P, N, d), b (P, M, d) -> (P, N, M)."""
    logits = matmul(a * scale, b, transpose_b=True)
    return softmax(logits if addition is None else logits + addition, 2)


def layer_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float) -> jt.Var:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    last = (x.ndim - 1,)
    centred = x - jt.mean(x, dims=last, keepdims=True)
    variance = jt.mean(jt.sqr(centred), dims=last, keepdims=True)
    return centred / jt.sqrt(variance + eps) * weight + bias


def resize_bilinear(x: jt.Var, rows: Taps, columns: Taps) -> jt.Var:
    """X (P, h, w) read between the taps of `core.primitives.resize.bilinear_taps` for the rows and the columns."""
    top, bottom, down = rows
    left, right, across = columns
    down, across = array_like(down[:, None], x), array_like(across, x)
    x = x[:, _indices(top)] * (1 - down) + x[:, _indices(bottom)] * down
    return x[:, :, _indices(left)] * (1 - across) + x[:, :, _indices(right)] * across


def pamr_steps(mask: jt.Var, affinity: jt.Var, dilations: Sequence[int], num_iter: int) -> jt.Var:
    """`num_iter` times the sum over neighbours n of mask (B, C, H, W), seen from n, times affinity (B, n, H, W)."""
    for _ in range(num_iter):
        refined = jt.zeros_like(mask)
        for n, shifted in enumerate(_neighbours(mask, dilations)):
            refined = refined + shifted * affinity[:, n : n + 1]
        mask = refined
    return mask


def pamr_affinity(image: jt.Var, dilations: Sequence[int], eps: float, sharpness: float) -> jt.Var:
    """Softmax over n of -mean over channels of |x - x_n| / (eps + sharpness * std): (B, 8 |dilations|, H, W)."""
    n = 9 * len(dilations)
    neighbours = list(_neighbours(image, dilations))
    mean = image * len(dilations)
    for x in neighbours:
        mean = mean + x
    mean = mean / n
    squares = jt.sqr(image - mean) * len(dilations)
    for x in neighbours:
        squares = squares + jt.sqr(x - mean)
    spread = eps + sharpness * jt.sqrt(squares / (n - 1))
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
