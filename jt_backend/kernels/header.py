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
"""
