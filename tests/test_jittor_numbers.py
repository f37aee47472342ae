"""Arithmetic and comparison between Jittor's arrays and numbers."""

import operator

import numpy as np
import pytest
from conftest import backend_or_skip

OPERATORS = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "pow": operator.pow,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
IN_PLACE = {
    "iadd": operator.iadd, "isub": operator.isub, "imul": operator.imul, "itruediv": operator.itruediv, "ipow": operator.ipow,
}  # fmt: skip
MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
NUMBERS = [0.3, 1e-6, 2.0, np.float64(0.1), np.float32(0.7)]  # all but one are not float32's; 2.0 is squared by Jittor
LARGE = [2**31, -(2**31) - 1, np.int64(3_000_000_001)]  # beyond int32, in which Jittor holds a whole number


@pytest.fixture
def jt():
    backend_or_skip("jittor")
    from jt_backend.jittor import jt

    return jt


@pytest.fixture
def values(rng) -> np.ndarray:
    """More than fit a vector, with the numbers themselves and their neighbours in float64 among them."""
    numbers = np.array(NUMBERS, dtype="float64")
    return np.concatenate([rng.uniform(0.01, 3, 1003), numbers, np.nextafter(numbers, 0), np.nextafter(numbers, 4)])


def both_sides(name, x, number):
    """The operator with the array on its left and on its right, and the names of the methods of x that this calls."""
    reflected = MIRRORED.get(name, f"r{name}")
    return [(OPERATORS[name](x, number), f"__{name}__"), (OPERATORS[name](number, x), f"__{reflected}__")]


def computed(jt, arrays):
    """Jittor's arrays in NumPy, computed together: what is computed alone is compiled alone."""
    jt.sync(arrays)
    return [array.numpy() for array in arrays]


def assert_equal_to_rounding(actual, expected):
    assert actual.dtype == expected.dtype
    if expected.dtype == bool:
        assert np.array_equal(actual, expected)
    else:
        assert np.all(np.abs(actual - expected) <= 1e-15 * np.abs(expected))


def assert_same_bits(actual, expected):
    assert (actual.dtype, actual.shape, actual.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.parametrize("name", OPERATORS)
def test_numbers_beside_float64_are_exact(jt, values, name):
    x, numbers = jt.array(values, dtype="float64"), NUMBERS + (LARGE if name != "pow" else [])
    ours = [result for number in numbers for result, _ in both_sides(name, x, number)]
    theirs = [result for number in numbers for result, _ in both_sides(name, values, np.float64(number))]
    for actual, expected in zip(computed(jt, ours), theirs, strict=True):
        assert_equal_to_rounding(actual, expected)


@pytest.mark.parametrize("name", IN_PLACE)
def test_numbers_are_exact_in_place(jt, values, name):
    x = jt.array(values, dtype="float64")
    same = IN_PLACE[name](x, 0.3)
    assert same is x
    assert_equal_to_rounding(x.numpy(), IN_PLACE[name](values.copy(), 0.3))


def assert_as_jittor_does(jt, name, x, others):
    """The operator between x and each of the others, on either side, gives what it gives without us, to the bit."""
    results = [(ours, getattr(jt.Var, method).of_jittor(x, other))
               for other in others for ours, method in both_sides(name, x, other)]  # fmt: skip
    arrays = iter(computed(jt, [array for pair in results for array in pair]))
    for actual, expected in zip(arrays, arrays, strict=True):
        assert_same_bits(actual, expected)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
@pytest.mark.parametrize("name", OPERATORS)
def test_beside_other_dtypes_jittor_does_as_ever(jt, values, name, dtype):
    assert_as_jittor_does(jt, name, jt.array(values, dtype=dtype), NUMBERS)


@pytest.mark.parametrize("name", OPERATORS)
def test_whole_numbers_and_arrays_beside_float64_are_left_to_jittor(jt, values, name):
    others = [3, True, jt.array(values, dtype="float64"), jt.array(values, dtype="float32")]
    assert_as_jittor_does(jt, name, jt.array(values, dtype="float64"), others)


def test_the_operators_are_replaced_once(jt):
    from jt_backend.numbers import OPERATORS as REPLACED
    from jt_backend.numbers import make_numbers_exact

    before = [getattr(jt.Var, name) for name in REPLACED]
    make_numbers_exact(jt)
    assert [getattr(jt.Var, name) for name in REPLACED] == before
    assert not any(hasattr(method.of_jittor, "of_jittor") for method in before)
