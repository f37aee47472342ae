"""Kernels over fields (..., h, w): bilinear resizing and PAMR."""

from collections.abc import Sequence

import numpy as np

from jt_backend.jittor import jt
from jt_backend.kernels import plain
from jt_backend.kernels.header import HEADER
from jt_backend.kernels.plain import Taps, array_like

CLASSES_AT_ONCE = 2  # in PAMR: their two buffers stay near the processor through all steps

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

# All steps of a few classes at a time, between two buffers whose rows (of one y, class beside class) have their ends repeated:
# a neighbour is a plain offset, the row above or below a pointer, and the affinity is read once for the classes together.
PAMR_STEPS = """
template <typename T> struct Padded {
    std::vector<T> data;
    int64_t classes, pad, pitch;
    Padded(int64_t height, int64_t classes, int64_t width, int64_t pad)
        : classes(classes), pad(pad), pitch(width + 2 * pad) { data.resize(height * classes * pitch); }
    T* row(int64_t y, int64_t c) { return data.data() + (y * classes + c) * pitch + pad; }
    void repeat_ends(T* x, int64_t width) {
        std::fill(x - pad, x, x[0]);
        std::fill(x + width, x + width + pad, x[width - 1]);
    }
};

template <int G, bool first, typename T> inline void add_neighbours(
    T* const* to, T* const* up, T* const* at, T* const* down, const T* a, int64_t area, int64_t d, int64_t width
) {
    #pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        const T a0 = a[j], a1 = a[area + j], a2 = a[2 * area + j], a3 = a[3 * area + j];
        const T a4 = a[4 * area + j], a5 = a[5 * area + j], a6 = a[6 * area + j], a7 = a[7 * area + j];
        for (int c = 0; c < G; c++)
            to[c][j] = (first ? 0 : to[c][j]) + a0 * up[c][j - d] + a1 * up[c][j] + a2 * up[c][j + d]
                + a3 * at[c][j - d] + a4 * at[c][j + d] + a5 * down[c][j - d] + a6 * down[c][j] + a7 * down[c][j + d];
    }
}
"""

PAMR = """
    @alias(mask, in0)
    @alias(affinity, in1)
    @alias(dilations, in2)
    @alias(y, out0)
    const int64 classes = mask_shape1, height = mask_shape2, width = mask_shape3, area = height * width;
    const int64 num_iter = data["num_iter"], group = std::min(classes, (int64)GROUP);
    const int64 pad = *std::max_element(dilations_p, dilations_p + dilations_shape0);
    Padded<mask_type> even(height, group, width, pad), odd(height, group, width, pad);
    #pragma omp parallel
    for (int64 b = 0; b < mask_shape0; b++)
        for (int64 first = 0; first < classes; first += group) {
            const int64 n = std::min(group, classes - first), plane = (b * classes + first) * area;
            Padded<mask_type> *from = &even, *to = &odd;
            #pragma omp for
            for (int64 i = 0; i < height; i++)
                for (int64 c = 0; c < n; c++) {
                    const mask_type* row = mask_p + plane + c * area + i * width;
                    std::copy(row, row + width, from->row(i, c));
                    from->repeat_ends(from->row(i, c), width);
                }
            for (int64 step = 0; step < num_iter; step++) {
                #pragma omp for
                for (int64 i = 0; i < height; i++) {
                    for (int64 k = 0; k < dilations_shape0; k++) {
                        const int64 d = dilations_p[k], above = std::max(i - d, (int64)0), below = std::min(i + d, height - 1);
                        const mask_type* a = affinity_p + (b * affinity_shape1 + 8 * k) * area + i * width;
                        mask_type *out[GROUP], *up[GROUP], *at[GROUP], *down[GROUP];
                        for (int64 c = 0; c < n; c++) {
                            out[c] = step + 1 < num_iter ? to->row(i, c) : y_p + plane + c * area + i * width;
                            up[c] = from->row(above, c);
                            at[c] = from->row(i, c); down[c] = from->row(below, c);
                        }
                        for (int64 c = 0; c < n; c += 2) {
                            const bool two = c + 1 < n;
                            auto add = k ? (two ? add_neighbours<2, false, mask_type> : add_neighbours<1, false, mask_type>)
                                : (two ? add_neighbours<2, true, mask_type> : add_neighbours<1, true, mask_type>);
                            add(out + c, up + c, at + c, down + c, a, area, d, width);
                        }
                    }
                    if (step + 1 < num_iter)
                        for (int64 c = 0; c < n; c++) to->repeat_ends(to->row(i, c), width);
                }
                std::swap(from, to);
            }
            if (num_iter == 0) {
                #pragma omp for
                for (int64 k = 0; k < n * area; k++) y_p[plane + k] = mask_p[plane + k];
            }
        }
"""

PAMR_AFFINITY = """
    @alias(image, in0)
    @alias(dilations, in1)
    @alias(y, out0)
    const int64 channels = image_shape1, height = image_shape2, width = image_shape3, area = height * width;
    const int64 n_dilations = dilations_shape0, n = 9 * n_dilations;
    const image_type eps = data["eps"], sharpness = data["sharpness"];
    #pragma omp parallel
    {
        std::vector<Rows<image_type>> rows(n_dilations);
        std::vector<image_type> mean(width), spread(width), logits(8 * n_dilations * width);
        #pragma omp for
        for (int64 task = 0; task < image_shape0 * height; task++) {
            const int64 b = task / height, i = task % height;
            std::fill(logits.begin(), logits.end(), (image_type)0);
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
                        image_type* to = logits.data() + (8 * k + place - (place > 4)) * width;
                        for (int64 j = 0; j < width; j++) to[j] -= std::abs(centre[j] - x[j]) * spread[j];
                    }
            }
            image_type *most = mean.data(), *total = spread.data(), *logit = logits.data();
            std::copy(logit, logit + width, most);
            std::fill(total, total + width, (image_type)0);
            for (int64 k = 1; k < 8 * n_dilations; k++)
                for (int64 j = 0; j < width; j++) most[j] = std::max(most[j], logit[k * width + j]);
            for (int64 k = 0; k < 8 * n_dilations; k++)
                for (int64 j = 0; j < width; j++) total[j] += logit[k * width + j] = exp_below(logit[k * width + j] - most[j]);
            for (int64 j = 0; j < width; j++) total[j] = 1 / total[j];
            for (int64 k = 0; k < 8 * n_dilations; k++) {
                y_type* to = y_p + (b * 8 * n_dilations + k) * area + i * width;
                for (int64 j = 0; j < width; j++) to[j] = logit[k * width + j] * total[j];
            }
        }
    }
"""


def resize_bilinear(x: jt.Var, rows: Taps, columns: Taps) -> jt.Var:
    """`plain.resize_bilinear`, one output row at a time."""
    if jt.flags.use_cuda:
        return plain.resize_bilinear(x, rows, columns)
    taps = [jt.array(part.astype(np.int32)) if part.dtype.kind == "i" else array_like(part, x) for part in (*rows, *columns)]
    shape = [x.shape[0], len(rows[0]), len(columns[0])]
    return jt.code(shape, x.dtype, [x, *taps], cpu_header=HEADER, cpu_src=RESIZE_BILINEAR)


def pamr_steps(mask: jt.Var, affinity: jt.Var, dilations: Sequence[int], num_iter: int) -> jt.Var:
    """`plain.pamr_steps` in one kernel: beside the result, only a few classes' masks exist twice."""
    if jt.flags.use_cuda:
        return plain.pamr_steps(mask, affinity, dilations, num_iter)
    inputs = [mask, affinity, _integers(dilations)]
    header = HEADER + f"constexpr int GROUP = {CLASSES_AT_ONCE};\n" + PAMR_STEPS
    return jt.code(mask.shape, mask.dtype, inputs, cpu_header=header, cpu_src=PAMR, data={"num_iter": float(num_iter)})


def pamr_affinity(image: jt.Var, dilations: Sequence[int], eps: float, sharpness: float) -> jt.Var:
    """`plain.pamr_affinity`, one row of the picture at a time."""
    if jt.flags.use_cuda:
        return plain.pamr_affinity(image, dilations, eps, sharpness)
    batch, _, height, width = image.shape
    shape = [batch, 8 * len(dilations), height, width]
    header, numbers = HEADER + PADDED_ROWS, {"eps": eps, "sharpness": sharpness}
    inputs = [image, _integers(dilations)]
    return jt.code(shape, image.dtype, inputs, cpu_header=header, cpu_src=PAMR_AFFINITY, data=numbers)


def _integers(values: Sequence[int]) -> jt.Var:
    return jt.array(np.asarray(values, dtype=np.int32))
