"""Kernels over rows of numbers: softmax, layer norm, and what would otherwise need sorting."""

import numpy as np

from jt_backend.jittor import jt
from jt_backend.kernels import plain
from jt_backend.kernels.header import HEADER

SOFTMAX = """
    @alias(x, in0)
    @alias(y, out0)
    const int64 inner = x_shape2, n = x_shape1, block = inner == 1 ? 1 : 256;
    const int64 blocks = (inner + block - 1) / block;
    #pragma omp parallel for
    for (int64 task = 0; task < x_shape0 * blocks; task++) {
        const int64 first = task % blocks * block, size = std::min(block, inner - first);
        const x_type* from = x_p + task / blocks * n * inner + first;
        y_type* to = y_p + task / blocks * n * inner + first;
        if (inner == 1) {
            softmax_row(from, to, n);
            continue;
        }
        x_type most[256], total[256];
        for (int64 j = 0; j < size; j++) { most[j] = from[j]; total[j] = 0; }
        for (int64 i = 1; i < n; i++)
            for (int64 j = 0; j < size; j++) most[j] = std::max(most[j], from[i * inner + j]);
        for (int64 i = 0; i < n; i++)
            for (int64 j = 0; j < size; j++) {
                const x_type e = exp_below(from[i * inner + j] - most[j]);
                to[i * inner + j] = e;
                total[j] += e;
            }
        for (int64 i = 0; i < n; i++)
            for (int64 j = 0; j < size; j++) to[i * inner + j] /= total[j];
    }
"""

SOFTMAX_AT_LEAST = """
    @alias(x, in0)
    @alias(least, in1)
    @alias(y, out0)
    const x_type scale = data["scale"];
    #pragma omp parallel for
    for (int64 row = 0; row < x_shape0; row++) {
        const int64 n = x_shape1;
        const x_type *from = x_p + row * n, limit = least_p[row], lowest = -1e30;
        y_type* to = y_p + row * n;
        for (int64 j = 0; j < n; j++) to[j] = from[j] >= limit ? scale * from[j] : lowest;
        softmax_row(to, to, n);
    }
"""

ROW_SUM = """
    @alias(x, in0)
    #pragma omp parallel for
    for (int64 row = 0; row < x_shape0; row++) {
        const x_type* from = x_p + row * x_shape1;
        x_type total = 0;
        for (int64 j = 0; j < x_shape1; j++) total += from[j];
        out0_p[row] = total;
    }
"""

ROW_MAX = """
    @alias(x, in0)
    #pragma omp parallel for
    for (int64 row = 0; row < x_shape0; row++) {
        const x_type* from = x_p + row * x_shape1;
        x_type most = from[0];
        for (int64 j = 0; j < x_shape1; j++) most = std::max(most, from[j]);
        out0_p[row] = most;
    }
"""

LAYER_NORM = """
    @alias(x, in0)
    @alias(y, out0)
    const x_type eps = data["eps"];
    #pragma omp parallel for
    for (int64 row = 0; row < x_shape0; row++) {
        const int64 n = x_shape1;
        const x_type* from = x_p + row * n;
        y_type* to = y_p + row * n;
        x_type mean = 0, variance = 0;
        for (int64 j = 0; j < n; j++) mean += from[j];
        mean /= n;
        for (int64 j = 0; j < n; j++) variance += (from[j] - mean) * (from[j] - mean);
        const x_type scale = 1 / std::sqrt(variance / n + eps);
        for (int64 j = 0; j < n; j++) to[j] = (from[j] - mean) * scale * in1_p[j] + in2_p[j];
    }
"""

# The k smallest of a row so far are kept in a list that is cut back to them when it is full; most entries are not even
# looked at alone, because no one of their 16 is below the largest that is kept.
SMALLEST = """
template <typename T> struct Smallest {
    std::vector<std::pair<T, int>> found;
    void take(const T* row, int64_t n, int64_t k, int64_t skipped) {
        T limit = 0;
        bool any = true;
        found.clear();
        for (int64_t first = 0; first < n; first += 16) {
            const int64_t last = std::min(first + 16, n);
            int below = any;
            for (int64_t j = first; j < last; j++) below |= row[j] < limit;
            if (!below) continue;
            for (int64_t j = first; j < last; j++)
                if ((any || row[j] < limit) && j != skipped) found.emplace_back(row[j], j);
            if (found.size() >= 4 * k + 16) { cut(k); limit = found.back().first; any = false; }
        }
        cut(k);
        std::sort(found.begin(), found.end());
    }
    void cut(int64_t k) {
        if (found.size() <= k) return;
        std::nth_element(found.begin(), found.begin() + k - 1, found.end());
        found.resize(k);
    }
};
"""

K_SMALLEST = """
    @alias(x, in0)
    const int64 n = x_shape1, k = out0_shape1;
    #pragma omp parallel
    {
        Smallest<x_type> smallest;
        #pragma omp for
        for (int64 row = 0; row < x_shape0; row++) {
            smallest.take(x_p + row * n, n, k, -1);
            for (int64 i = 0; i < k; i++) {
                out0_p[row * k + i] = smallest.found[i].first;
                out1_p[row * k + i] = smallest.found[i].second;
            }
        }
    }
"""

NEAREST = """
    @alias(products, in0)
    @alias(squares, in1)
    const int64 n = products_shape1, k = out0_shape1, first = data["first"];
    const products_type noise = data["noise"];
    #pragma omp parallel
    {
        Smallest<products_type> smallest;
        std::vector<products_type> distance(n);
        #pragma omp for
        for (int64 row = 0; row < products_shape0; row++) {
            const int64 own = first + row;
            for (int64 j = 0; j < n; j++) distance[j] = squares_p[j] - 2 * products_p[row * n + j];
            smallest.take(distance.data(), n, k, own);
            for (int64 i = 0; i < k; i++) {
                const int j = smallest.found[i].second;
                const products_type d = smallest.found[i].first + squares_p[own];
                out0_p[row * k + i] = d > noise * (squares_p[own] + squares_p[j]) ? d : 0;
                out1_p[row * k + i] = j;
            }
        }
    }
"""


def softmax(x: jt.Var, axis: int) -> jt.Var:
    """`plain.softmax` in three passes over the data, a block of the inner axes at a time."""
    if jt.flags.use_cuda:
        return plain.softmax(x, axis)
    axis %= x.ndim
    shape = list(x.shape)
    planes = x.reshape([int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))])
    return jt.code(planes.shape, x.dtype, [planes], cpu_header=HEADER, cpu_src=SOFTMAX).reshape(shape)


def softmax_at_least(x: jt.Var, least: jt.Var, scale: float) -> jt.Var:
    """`plain.softmax_at_least`, row by row."""
    if jt.flags.use_cuda:
        return plain.softmax_at_least(x, least, scale)
    numbers = {"scale": float(scale)}
    return jt.code(x.shape, x.dtype, [x, least], cpu_header=HEADER, cpu_src=SOFTMAX_AT_LEAST, data=numbers)


def row_sum(x: jt.Var) -> jt.Var:
    """`plain.row_sum` in as many partial sums as a vector holds, which is also nearer to the exact one."""
    if jt.flags.use_cuda or not x.numel():
        return plain.row_sum(x)
    return jt.code([x.shape[0]], x.dtype, [x], cpu_header=HEADER, cpu_src=ROW_SUM)


def row_max(x: jt.Var) -> jt.Var:
    """`plain.row_max`, the rows shared among the threads."""
    if jt.flags.use_cuda:
        return plain.row_max(x)
    return jt.code([x.shape[0]], x.dtype, [x], cpu_header=HEADER, cpu_src=ROW_MAX)


def layer_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float) -> jt.Var:
    """`plain.layer_norm`, row by row."""
    if jt.flags.use_cuda:
        return plain.layer_norm(x, weight, bias, eps)
    rows = x.reshape([-1, x.shape[-1]])
    normed = jt.code(rows.shape, x.dtype, [rows, weight, bias], cpu_header=HEADER, cpu_src=LAYER_NORM, data={"eps": float(eps)})
    return normed.reshape(x.shape)


def k_smallest(x: jt.Var, k: int) -> tuple[jt.Var, jt.Var]:
    """`plain.k_smallest` by selection instead of sorting."""
    if jt.flags.use_cuda:
        return plain.k_smallest(x, k)
    shapes = [[x.shape[0], k]] * 2
    return tuple(jt.code(shapes, [str(x.dtype), "int32"], [x], cpu_header=HEADER + SMALLEST, cpu_src=K_SMALLEST))


def nearest_of_products(products: jt.Var, squares: jt.Var, first: int, k: int, noise: float) -> tuple[jt.Var, jt.Var]:
    """`plain.nearest_of_products`: the distances of a row exist for that row alone."""
    if jt.flags.use_cuda:
        return plain.nearest_of_products(products, squares, first, k, noise)
    shapes, dtypes = [[products.shape[0], k]] * 2, [str(products.dtype), "int32"]
    header, numbers = HEADER + SMALLEST, {"first": float(first), "noise": float(noise)}
    return tuple(jt.code(shapes, dtypes, [products, squares], cpu_header=header, cpu_src=NEAREST, data=numbers))
