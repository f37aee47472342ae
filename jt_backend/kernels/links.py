"""FSA's links: divergences to weights, row by row."""

from jt_backend import formulas, jt
from jt_backend.formulas import constants
from jt_backend.kernels.header import HEADER

# How far the mass reaches is searched by halving the range of divergences, until what is in question weighs less than two
# entries can: each step is one vectorised pass over a row that stays in the cache, and none is sorted. Of equal entries at the
# edge all count as soon as one of them fits, as where entries are sorted. Divergences are compared, not similarities: -Ofast
# divides a row's last entries otherwise than the rest, so equal ones would not stay equal.
FARTHEST_KEPT = """
constexpr int MOST_STEPS = 200;  // more than a range of numbers can be halved; one that is no number would never end

template <typename T> T mass_within(T at, const T* x, const T* weight, int64_t n) {
    T held = 0;
    for (int64_t j = 0; j < n; j++) held += x[j] <= at ? weight[j] : 0;
    return held;
}

template <typename T> T farthest_kept(const T* x, T* weight, int64_t n, T mass) {
    T nearest = x[0], farthest = x[0], total = 0;
    for (int64_t j = 0; j < n; j++) { nearest = std::min(nearest, x[j]); farthest = std::max(farthest, x[j]); }
    const T most = 1 / (1 + nearest);
    const auto weigh = [=](T divergence) { return exp_below(1 / (1 + divergence) - most); };
    for (int64_t j = 0; j < n; j++) { weight[j] = weigh(x[j]); total += weight[j]; }
    const T limit = mass * total;
    if (total <= limit) return farthest;
    T kept = nearest, held = 0, dropped = farthest, passed = total;
    for (int step = 0; step < MOST_STEPS && passed - held > T(1.5) * weigh(dropped); step++) {
        const T at = kept + (dropped - kept) / 2;
        if (at <= kept || at >= dropped) break;
        const T within = mass_within(at, x, weight, n);
        if (within <= limit) { kept = at; held = within; } else { dropped = at; passed = within; }
    }
    T last = nearest, next = farthest;
    for (int64_t j = 0; j < n; j++) {
        const T inside = x[j] <= kept ? x[j] : nearest, outside = x[j] > kept ? x[j] : farthest;
        last = std::max(last, inside);
        next = std::min(next, outside);
    }
    return mass_within(kept, x, weight, n) + weigh(next) <= limit ? next : last;
}
"""

LINK_WEIGHTS = """
    @alias(divergence, in0)
    @alias(y, out0)
    const int64 n = divergence_shape1;
    const divergence_type sharpness = in1_p[0], mass = in1_p[1], lowest = -1e30;
    const bool pruned = data["pruned"];
    #pragma omp parallel
    {
        std::vector<divergence_type> weight(n);
        #pragma omp for
        for (int64 row = 0; row < divergence_shape0; row++) {
            const divergence_type* x = divergence_p + row * n;
            const divergence_type farthest = pruned ? farthest_kept(x, weight.data(), n, mass) : 0;
            y_type* to = y_p + row * n;
            for (int64 j = 0; j < n; j++) {
                const divergence_type similarity = 1 / (1 + x[j]), logit = similarity * std::exp(sharpness * similarity);
                to[j] = !pruned || x[j] <= farthest ? logit : lowest;
            }
            softmax_row(to, to, n);
        }
    }
"""


def link_weights(divergence: jt.Var, sharpness: float, mass: float | None) -> jt.Var:
    """`formulas.link_weights` in one pass over memory."""
    if jt.flags.use_cuda:
        return formulas.link_weights(divergence, sharpness, mass)
    inputs, pruned = [divergence, constants([sharpness, mass or 0], divergence)], {"pruned": float(mass is not None)}
    header = HEADER + FARTHEST_KEPT
    return jt.code(divergence.shape, divergence.dtype, inputs, cpu_header=header, cpu_src=LINK_WEIGHTS, data=pruned)
