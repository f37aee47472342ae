"""Pixel-adaptive mask refinement: masks drawn along the edges of the picture.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, section 3.3. A pixel's neighbours are
the 8 directions at each dilation, the picture's edge being repeated outside it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from core.errors import InputError
from core.primitives.arrays import Array
from core.primitives.ops import asarray, softmax
from core.primitives.resize import resize_bilinear

__all__ = ["pamr", "pamr_affinity"]

DIRECTIONS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
EPS, SHARPNESS = 1e-8, 0.1  # spread = EPS + SHARPNESS * standard deviation


def pamr(image: Array, mask: Array, num_iter: int = 10, dilations: Sequence[int] = (8, 16)) -> Array:
    r"""Refines `mask` (B, C, h, w) along the edges of `image` (B, K, H, W); -> (B, C, H, W).

    The mask is resized to the picture (bilinear, align_corners); then `num_iter` times
    $m_p \leftarrow \sum_n a_{p,n}\, m_{p+n}$ with `pamr_affinity`'s a. Linear in the mask, class by class. The picture may
    be of any range, 8-bit included; it is taken in the mask's dtype.

    Raises InputError for dilations that are empty or below 1, or batches that differ.
    """
    mask = asarray(mask)
    image = asarray(image, like=mask)
    check_pamr(image.shape, mask.shape, num_iter, dilations)
    affinity = pamr_affinity(image, dilations)
    size = image.shape[-2:]
    refined = np.empty((*mask.shape[:2], *size), dtype=mask.dtype)
    for c in range(mask.shape[1]):  # class by class, which takes little memory
        field = resize_bilinear(mask[:, c : c + 1], size, align_corners=True)
        for _ in range(num_iter):
            field = sum(x * affinity[:, n : n + 1] for n, x in enumerate(_neighbours(field, dilations)))
        refined[:, c : c + 1] = field
    return refined


def pamr_affinity(image: Array, dilations: Sequence[int] = (8, 16)) -> Array:
    r"""(B, K, H, W) -> (B, 8 |dilations|, H, W), summing to 1 over the neighbours n.

    $a_{p,n} = \mathrm{softmax}_n\, \frac1K \sum_k -|x_{k,p} - x_{k,p+n}| / (10^{-8} + 0.1\,\sigma_{k,p})$; $\sigma$ is the
    unbiased standard deviation over the 3 x 3 places of every dilation, the centre counted once for each.
    """
    image = asarray(image)
    n = 9 * len(dilations)
    mean = (sum(_neighbours(image, dilations)) + len(dilations) * image) / n
    squares = sum(np.square(x - mean) for x in _neighbours(image, dilations)) + len(dilations) * np.square(image - mean)
    spread = EPS + SHARPNESS * np.sqrt(squares / (n - 1))
    logits = np.stack([-np.mean(np.abs(image - x) / spread, axis=1) for x in _neighbours(image, dilations)], axis=1)
    return softmax(logits, axis=1)


def check_pamr(image: tuple[int, ...], mask: tuple[int, ...], num_iter: int, dilations: Sequence[int]) -> None:
    """Raises InputError, in one line, for arguments that PAMR cannot work with; `image` and `mask` are shapes."""
    if len(image) != 4 or len(mask) != 4 or image[0] != mask[0]:
        raise InputError(f"pamr takes image (B, K, H, W) and mask (B, C, h, w), not {tuple(image)} and {tuple(mask)}")
    if num_iter < 0 or not dilations or any(d < 1 for d in dilations):
        raise InputError(f"pamr needs num_iter >= 0 and dilations of at least 1, not {num_iter} and {tuple(dilations)}")


def _neighbours(x: np.ndarray, dilations: Sequence[int]) -> Iterator[np.ndarray]:
    """The field seen from each neighbour in turn: the view x[p + n], dilation by dilation, direction by direction."""
    height, width = x.shape[-2:]
    for d in dilations:
        padded = np.pad(x, ((0, 0), (0, 0), (d, d), (d, d)), mode="edge")
        for row, column in DIRECTIONS:
            top, left = d + d * row, d + d * column
            yield padded[..., top : top + height, left : left + width]
