"""The one comparison of arrays, with one table of tolerances."""

import numpy as np

from core.primitives.arrays import as_numpy

TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "head": 1e-4, "feedback": 2e-3}  # relative to the largest magnitude expected


def assert_close(actual, expected, kind=None):
    """Same shape and dtype, and nowhere further apart than the tolerance of the dtype, or of `kind`."""
    actual, expected = as_numpy(actual), as_numpy(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape}"
    if kind is None:
        assert actual.dtype == expected.dtype, f"dtypes {actual.dtype} and {expected.dtype}"
    if expected.size == 0:
        return
    assert np.isfinite(actual).all() == np.isfinite(expected).all(), "one side is not finite"
    scale = max(float(np.abs(expected).max()), 1e-30)
    worst = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()) / scale
    limit = TOLERANCE[kind or str(expected.dtype)]
    assert worst <= limit, f"relative difference {worst:.2e} exceeds {limit:.0e}"
