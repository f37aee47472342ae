"""The loops that Jittor's own operators are slow at, as `jt.code` kernels for the CPU.

On a GPU the same functions run `jt_backend.formulas`, the plain operators, which the tests compare the kernels with.
Jittor compiles a kernel once for each dtype and number of axes, not for each size, and builds it with -Ofast and OpenMP.
"""

from collections.abc import Sequence

import numpy as np

from jt_backend import formulas, jt
from jt_backend.formulas import Taps, constants

HEADER = "#include <algorithm>\n#include <cmath>\n#include <vector>\n"

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
            x_type most = from[0], total = 0;
            for (int64 i = 1; i < n; i++) most = std::max(most, from[i]);
            for (int64 i = 0; i < n; i++) { to[i] = std::exp(from[i] - most); total += to[i]; }
            const x_type share = 1 / total;
            for (int64 i = 0; i < n; i++) to[i] *= share;
            continue;
        }
        x_type most[256], total[256];
        for (int64 j = 0; j < size; j++) { most[j] = from[j]; total[j] = 0; }
        for (int64 i = 1; i < n; i++)
            for (int64 j = 0; j < size; j++) most[j] = std::max(most[j], from[i * inner + j]);
        for (int64 i = 0; i < n; i++)
            for (int64 j = 0; j < size; j++) {
                const x_type e = std::exp(from[i * inner + j] - most[j]);
                to[i * inner + j] = e;
                total[j] += e;
            }
        for (int64 i = 0; i < n; i++)
            for (int64 j = 0; j < size; j++) to[i * inner + j] /= total[j];
    }
"""

LAYER_NORM = """
    @alias(x, in0)
    @alias(y, out0)
    #pragma omp parallel for
    for (int64 row = 0; row < x_shape0; row++) {
        const int64 n = x_shape1;
        const x_type* from = x_p + row * n;
        y_type* to = y_p + row * n;
        x_type mean = 0, variance = 0;
        for (int64 j = 0; j < n; j++) mean += from[j];
        mean /= n;
        for (int64 j = 0; j < n; j++) variance += (from[j] - mean) * (from[j] - mean);
        const x_type scale = 1 / std::sqrt(variance / n + in3_p[0]);
        for (int64 j = 0; j < n; j++) to[j] = (from[j] - mean) * scale * in1_p[j] + in2_p[j];
    }
"""

K_SMALLEST = """
    @alias(x, in0)
    const int64 n = x_shape1, k = out0_shape1;
    #pragma omp parallel
    {
        std::vector<int> order(n);
        #pragma omp for
        for (int64 row = 0; row < x_shape0; row++) {
            const x_type* from = x_p + row * n;
            for (int64 i = 0; i < n; i++) order[i] = i;
            auto nearer = [&](int a, int b) { return from[a] < from[b] || (from[a] == from[b] && a < b); };
            std::nth_element(order.begin(), order.begin() + k - 1, order.end(), nearer);
            std::sort(order.begin(), order.begin() + k, nearer);
            for (int64 i = 0; i < k; i++) {
                out0_p[row * k + i] = from[order[i]];
                out1_p[row * k + i] = order[i];
            }
        }
    }
"""

RESIZE_BILINEAR = """
    @alias(x, in0)
    @alias(top, in1)
    @alias(bottom, in2)
    @alias(down, in3)
    @alias(left, in4)
    @alias(right, in5)
    @alias(across, in6)
    @alias(y, out0)
    #pragma omp parallel for
    for (int64 task = 0; task < y_shape0 * y_shape1; task++) {
        const int64 i = task % y_shape1;
        const x_type* plane = x_p + task / y_shape1 * x_shape1 * x_shape2;
        const x_type *above = plane + top_p[i] * x_shape2, *below = plane + bottom_p[i] * x_shape2;
        y_type* to = y_p + task * y_shape2;
        for (int64 j = 0; j < y_shape2; j++) {
            const x_type first = above[left_p[j]] * (1 - down_p[i]) + below[left_p[j]] * down_p[i];
            const x_type last = above[right_p[j]] * (1 - down_p[i]) + below[right_p[j]] * down_p[i];
            to[j] = first * (1 - across_p[j]) + last * across_p[j];
        }
    }
"""

# Three rows of a field, d rows apart around row y, each with its ends repeated d times: every neighbour is then a plain offset.
PADDED_ROWS = """
template <typename T> struct Rows {
    std::vector<T> data;
    T* row[3];
    void load(const T* plane, int64_t height, int64_t width, int64_t y, int64_t d) {
        const int64_t length = width + 2 * d;
        data.resize(3 * length);
        for (int k = 0; k < 3; k++) {
            const int64_t at = std::min(std::max(y + (k - 1) * d, (int64_t)0), height - 1);
            const T* from = plane + at * width;
            T* to = data.data() + k * length;
            std::fill(to, to + d, from[0]);
            std::copy(from, from + width, to + d);
            std::fill(to + d + width, to + length, from[width - 1]);
            row[k] = to + d;
        }
    }
};
"""

PAMR_STEP = """
    @alias(mask, in0)
    @alias(affinity, in1)
    @alias(dilations, in2)
    @alias(y, out0)
    const int64 classes = mask_shape1, height = mask_shape2, width = mask_shape3, area = height * width;
    #pragma omp parallel
    {
        Rows<mask_type> rows;
        #pragma omp for
        for (int64 task = 0; task < mask_shape0 * height; task++) {
            const int64 b = task / height, i = task % height;
            for (int64 c = 0; c < classes; c++) {
                y_type* to = y_p + (b * classes + c) * area + i * width;
                std::fill(to, to + width, (y_type)0);
                for (int64 n = 0; n < dilations_shape0; n++) {
                    const int64 d = dilations_p[n];
                    rows.load(mask_p + (b * classes + c) * area, height, width, i, d);
                    const mask_type *up = rows.row[0], *at = rows.row[1], *down = rows.row[2];
                    const affinity_type* a = affinity_p + (b * affinity_shape1 + 8 * n) * area + i * width;
                    #pragma omp simd
                    for (int64 j = 0; j < width; j++)
                        to[j] += a[j] * up[j - d] + a[area + j] * up[j] + a[2 * area + j] * up[j + d]
                            + a[3 * area + j] * at[j - d] + a[4 * area + j] * at[j + d]
                            + a[5 * area + j] * down[j - d] + a[6 * area + j] * down[j] + a[7 * area + j] * down[j + d];
                }
            }
        }
    }
"""

PAMR_AFFINITY = """
    @alias(image, in0)
    @alias(dilations, in1)
    @alias(y, out0)
    const int64 channels = image_shape1, height = image_shape2, width = image_shape3, area = height * width;
    const int64 n_dilations = dilations_shape0, n = 9 * n_dilations;
    const image_type eps = in2_p[0], sharpness = in2_p[1];
    #pragma omp parallel
    {
        std::vector<Rows<image_type>> rows(n_dilations);
        std::vector<image_type> mean(width), spread(width);
        #pragma omp for
        for (int64 task = 0; task < image_shape0 * height; task++) {
            const int64 b = task / height, i = task % height;
            y_type* first = y_p + b * 8 * n_dilations * area + i * width;
            for (int64 k = 0; k < 8 * n_dilations; k++) std::fill(first + k * area, first + k * area + width, (y_type)0);
            for (int64 c = 0; c < channels; c++) {
                const image_type* plane = image_p + (b * channels + c) * area;
                const image_type* centre = plane + i * width;
                std::fill(mean.begin(), mean.end(), (image_type)0);
                std::fill(spread.begin(), spread.end(), (image_type)0);
                for (int64 k = 0; k < n_dilations; k++) {
                    rows[k].load(plane, height, width, i, dilations_p[k]);
                    for (int place = 0; place < 9; place++) {
                        const image_type* x = rows[k].row[place / 3] + (place % 3 - 1) * (int64)dilations_p[k];
                        for (int64 j = 0; j < width; j++) mean[j] += x[j];
                    }
                }
                for (int64 j = 0; j < width; j++) mean[j] /= n;
                for (int64 k = 0; k < n_dilations; k++)
                    for (int place = 0; place < 9; place++) {
                        const image_type* x = rows[k].row[place / 3] + (place % 3 - 1) * (int64)dilations_p[k];
                        for (int64 j = 0; j < width; j++) spread[j] += (x[j] - mean[j]) * (x[j] - mean[j]);
                    }
                for (int64 j = 0; j < width; j++)
                    spread[j] = 1 / ((eps + sharpness * std::sqrt(spread[j] / (n - 1))) * channels);
                for (int64 k = 0; k < n_dilations; k++)
                    for (int place = 0; place < 9; place++) {
                        if (place == 4) continue;
                        const image_type* x = rows[k].row[place / 3] + (place % 3 - 1) * (int64)dilations_p[k];
                        y_type* to = first + (8 * k + place - (place > 4)) * area;
                        for (int64 j = 0; j < width; j++) to[j] -= std::abs(centre[j] - x[j]) * spread[j];
                    }
            }
        }
    }
"""


def softmax(x: jt.Var, axis: int) -> jt.Var:
    """`formulas.softmax` in three passes over the data, a block of the inner axes at a time."""
    if jt.flags.use_cuda:
        return formulas.softmax(x, axis)
    axis %= x.ndim
    shape = list(x.shape)
    planes = x.reshape([int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))])
    return jt.code(planes.shape, x.dtype, [planes], cpu_header=HEADER, cpu_src=SOFTMAX).reshape(shape)


def layer_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float) -> jt.Var:
    """`formulas.layer_norm`, row by row."""
    if jt.flags.use_cuda:
        return formulas.layer_norm(x, weight, bias, eps)
    rows = x.reshape([-1, x.shape[-1]])
    inputs = [rows, weight, bias, constants([eps], x)]
    return jt.code(rows.shape, x.dtype, inputs, cpu_header=HEADER, cpu_src=LAYER_NORM).reshape(x.shape)


def k_smallest(x: jt.Var, k: int) -> tuple[jt.Var, jt.Var]:
    """`formulas.k_smallest` by selection instead of sorting."""
    if jt.flags.use_cuda:
        return formulas.k_smallest(x, k)
    shapes = [[x.shape[0], k]] * 2
    return tuple(jt.code(shapes, [str(x.dtype), "int32"], [x], cpu_header=HEADER, cpu_src=K_SMALLEST))


def resize_bilinear(x: jt.Var, rows: Taps, columns: Taps) -> jt.Var:
    """`formulas.resize_bilinear`, one output row at a time."""
    if jt.flags.use_cuda:
        return formulas.resize_bilinear(x, rows, columns)
    taps = [
        jt.array(part.astype(np.int32)) if part.dtype.kind == "i" else constants(part, x) for part in (*rows, *columns)
    ]
    shape = [x.shape[0], len(rows[0]), len(columns[0])]
    return jt.code(shape, x.dtype, [x, *taps], cpu_header=HEADER, cpu_src=RESIZE_BILINEAR)


def pamr_step(mask: jt.Var, affinity: jt.Var, dilations: Sequence[int]) -> jt.Var:
    """`formulas.pamr_step`: the three rows a dilation needs are padded once, then all eight taps run in one loop over x."""
    if jt.flags.use_cuda:
        return formulas.pamr_step(mask, affinity, dilations)
    inputs = [mask, affinity, _integers(dilations)]
    return jt.code(mask.shape, mask.dtype, inputs, cpu_header=HEADER + PADDED_ROWS, cpu_src=PAMR_STEP)


def pamr_affinity(image: jt.Var, dilations: Sequence[int], eps: float, sharpness: float) -> jt.Var:
    """`formulas.pamr_affinity`, one row of the picture at a time."""
    if jt.flags.use_cuda:
        return formulas.pamr_affinity(image, dilations, eps, sharpness)
    batch, _, height, width = image.shape
    shape = [batch, 8 * len(dilations), height, width]
    inputs = [image, _integers(dilations), constants([eps, sharpness], image)]
    logits = jt.code(shape, image.dtype, inputs, cpu_header=HEADER + PADDED_ROWS, cpu_src=PAMR_AFFINITY)
    return softmax(logits, 1)


def _integers(values: Sequence[int]) -> jt.Var:
    return jt.array(np.asarray(values, dtype=np.int32))
