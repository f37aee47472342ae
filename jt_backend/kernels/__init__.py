"""The loops that Jittor's own operators are slow at, as `jt.code` kernels for the CPU.

On a GPU the same functions run `jt_backend.kernels.plain`, the plain operators, which the tests compare the kernels with.
Jittor compiles a kernel once for each dtype and number of axes, not for each size, and builds it with -Ofast and OpenMP.

Learned by measuring, for whoever writes the next one:
- oneDNN's `dnnl_sgemm` can be called from a kernel; inside a parallel region it keeps to its thread.
- A product inside `omp parallel for if (false)` is half as fast: oneDNN's threads are then a nested team, made anew each time.
- The C library's vectorised exponential takes a vector with one underflowing entry apart: ten times slower on masked rows.
- With a transposed factor and few rows oneDNN's own split among threads loses up to a third; give each a share of the columns.
- -Ofast approximates float divisions in a loop's vector part, not in its last entries: equal inputs give unequal results.
- A minimum or maximum under a condition is not vectorised (30 times slower); choose the entry or a neutral one first.
- Indexing such as x[:, 0] or x[:, None] copies; reshape does not.
- Plain operators add up rows one entry after the other, and copy what is transposed.
- What `data=` carries is not part of the source, so another number compiles nothing.
"""

from jt_backend.kernels.fields import pamr_affinity, pamr_steps, resize_bilinear
from jt_backend.kernels.links import link_weights
from jt_backend.kernels.products import attention, attention_weights, linear, matmul
from jt_backend.kernels.rows import (
    k_smallest,
    layer_norm,
    nearest_of_products,
    row_max,
    row_sum,
    softmax,
    softmax_at_least,
)

__all__ = [
    "attention", "attention_weights", "k_smallest", "layer_norm", "linear", "link_weights", "matmul",
    "nearest_of_products", "pamr_affinity", "pamr_steps", "resize_bilinear", "row_max", "row_sum", "softmax",
    "softmax_at_least",
]  # fmt: skip
