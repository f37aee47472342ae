"""Arithmetic and comparison between a float64 Var and a number, made exact.

Jittor rounds a Python float to float32 even beside a float64 Var, so that `x * 0.3` is off by 1e-8, and a whole number beyond
32 bits wraps around. Beside float64 the operators here take such a number as a Var of one entry, which is a scalar to Jittor's
choice of dtypes. All else is as Jittor does it, `//` and `%` too.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

WHOLE = (int, np.integer)
INT32 = range(-(2**31), 2**31)
OPERATORS = (
    "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "__mul__", "__rmul__", "__imul__",
    "__truediv__", "__rtruediv__", "__itruediv__", "__pow__", "__rpow__", "__ipow__",
    "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__",
)  # fmt: skip


def make_numbers_exact(jt: ModuleType) -> None:
    """Replaces the operators of `jt.Var`, once."""
    for name in OPERATORS:
        operator = getattr(jt.Var, name)
        if not hasattr(operator, "of_jittor"):
            setattr(jt.Var, name, _exact(operator, jt))


def _exact(operator: Callable, jt: ModuleType) -> Callable:
    @wraps(operator)
    def exact(x: Any, other: Any) -> Any:
        if _is_rounded(other) and x.dtype == "float64":
            other = jt.array(np.asarray(other, dtype="float64"), dtype="float64")
        return operator(x, other)

    exact.of_jittor = operator
    return exact


def _is_rounded(other: Any) -> bool:
    """Whether it is a number that Jittor does not take in full; NumPy's float64 is a `float`, and its smaller ones fit."""
    return isinstance(other, float) or (isinstance(other, WHOLE) and int(other) not in INT32)
