"""The loops that Jittor's own operators are slow at, as `jt.code` kernels for the CPU.

On a GPU the same functions run `jt_backend.formulas`, the plain operators, which the tests compare the kernels with.
Jittor compiles a kernel once for each dtype and number of axes, not for each size, and builds it with -Ofast and OpenMP.
"""

from jt_backend.kernels.fields import pamr_affinity, pamr_steps, resize_bilinear
from jt_backend.kernels.products import attention, attention_weights, linear, matmul
from jt_backend.kernels.rows import k_smallest, layer_norm, nearest_of_products, row_sum, softmax, softmax_at_least, top_mass

__all__ = [
    "attention", "attention_weights", "k_smallest", "layer_norm", "linear", "matmul", "nearest_of_products", "pamr_affinity",
    "pamr_steps", "resize_bilinear", "row_sum", "softmax",
    "softmax_at_least", "top_mass",
]  # fmt: skip
