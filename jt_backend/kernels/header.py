"""What every kernel's C++ begins with."""

HEADER = """
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>
#include <omp.h>

// e^x for x <= 0. Where it underflows it is 0 and not computed: the vectorised exponential would take such entries one by one.
template <typename T> inline T exp_below(T x) {
    const T least = sizeof(T) == 4 ? -87 : -708;
    const T e = std::exp(std::max(x, least));
    return x < least ? 0 : e;
}

// y may be x.
template <typename T> inline void softmax_row(const T* x, T* y, int64_t n) {
    T most = x[0], total = 0;
    for (int64_t j = 1; j < n; j++) most = std::max(most, x[j]);
    for (int64_t j = 0; j < n; j++) { y[j] = exp_below(x[j] - most); total += y[j]; }
    const T share = 1 / total;
    for (int64_t j = 0; j < n; j++) y[j] *= share;
}
"""
