"""FSA's links: divergences to weights, row by row."""

from jt_backend.jittor import jt
from jt_backend.kernels import plain
from jt_backend.kernels.header import HEADER

# Equal divergences must give equal similarities, and -Ofast divides floats otherwise in a row's last entries than in the rest:
# so they are divided as doubles. The entry at which the mass is reached is searched by halving the range of values, until what
# is in question weighs less than two entries can: each step is one vectorised pass over a row in the cache, and none is sorted.
# Of equal entries at the edge all count as soon as one of them fits, as where entries are sorted.
WEAKEST_KEPT = """
constexpr int MOST_STEPS = 200;  // more than a range of numbers can be halved; one that is no number would never end

template <typename T> T mass_from(T at, const T* x, const T* weight, int64_t n) {
    T held = 0;
    for (int64_t j = 0; j < n; j++) held += x[j] >= at ? weight[j] : 0;
    return held;
}

template <typename T> T weakest_kept(const T* x, T* weight, int64_t n, T mass) {
    T largest = x[0], smallest = x[0], total = 0;
    for (int64_t j = 0; j < n; j++) { largest = std::max(largest, x[j]); smallest = std::min(smallest, x[j]); }
    for (int64_t j = 0; j < n; j++) { weight[j] = exp_below(x[j] - largest); total += weight[j]; }
    const T limit = mass * total;
    if (total <= limit) return smallest;
    T kept = largest, held = 0, dropped = smallest, passed = total;
    for (int step = 0; step < MOST_STEPS && passed - held > T(1.5) * exp_below(dropped - largest); step++) {
        const T at = dropped + (kept - dropped) / 2;
        if (at <= dropped || at >= kept) break;
        const T from = mass_from(at, x, weight, n);
        if (from <= limit) { kept = at; held = from; } else { dropped = at; passed = from; }
    }
    T weakest = largest, next = smallest;
    for (int64_t j = 0; j < n; j++) {
        const T above = x[j] >= kept ? x[j] : largest, below = x[j] < kept ? x[j] : smallest;
        weakest = std::min(weakest, above);
        next = std::max(next, below);
    }
    return mass_from(kept, x, weight, n) + exp_below(next - largest) <= limit ? next : weakest;
}
"""

LINK_WEIGHTS = """
    @alias(divergence, in0)
    @alias(y, out0)
    typedef y_type T;
    const int64 n = divergence_shape1;
    const T sharpness = data["sharpness"], mass = data["mass"], lowest = -1e30;
    const bool pruned = data["pruned"];
    #pragma omp parallel
    {
        std::vector<T> similarity(n), weight(n);
        #pragma omp for
        for (int64 row = 0; row < divergence_shape0; row++) {
            for (int64 j = 0; j < n; j++) similarity[j] = 1.0 / (1.0 + divergence_p[row * n + j]);
            const T weakest = pruned ? weakest_kept(similarity.data(), weight.data(), n, mass) : lowest;
            T* to = y_p + row * n;
            for (int64 j = 0; j < n; j++) {
                const T logit = similarity[j] * std::exp(sharpness * similarity[j]);
                to[j] = similarity[j] >= weakest ? logit : lowest;
            }
            softmax_row(to, to, n);
        }
    }
"""


def link_weights(divergence: jt.Var, sharpness: float, mass: float | None) -> jt.Var:
    """`plain.link_weights` in one pass over memory."""
    if jt.flags.use_cuda:
        return plain.link_weights(divergence, sharpness, mass)
    numbers = {"sharpness": float(sharpness), "mass": float(mass or 0), "pruned": float(mass is not None)}
    shape, header = divergence.shape, HEADER + WEAKEST_KEPT
    return jt.code(shape, divergence.dtype, [divergence], cpu_header=header, cpu_src=LINK_WEIGHTS, data=numbers)
