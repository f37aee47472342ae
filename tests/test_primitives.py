"""Every primitive on every backend: against the loop-form oracles, and against NumPy in float32 and float64."""

import sys
import warnings

import naive
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core.backends import load_backend
from core.parity.cases.primitives import PRIMITIVES, primitive_trials

WHOLE_NUMBERS = {"argmax": {0}, "k_smallest": {1}, "nearest_neighbours": {1}}
"""Which of a primitive's results are indices; all others are of the arguments' dtype."""


def results(ops, name, arguments):
    """What a primitive gives of NumPy arguments, as NumPy arrays."""
    found = getattr(ops, name)(*arguments)
    return [ops.to_numpy(part) for part in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("name", PRIMITIVES)
def test_parity_with_numpy(mirror, dtype, name):
    reference = load_backend("numpy")
    for trial, arguments in primitive_trials(name, dtype).items():
        theirs, mine = (results(ops, name, arguments) for ops in (reference, mirror))
        assert len(theirs) == len(mine), trial
        for i, (expected, actual) in enumerate(zip(theirs, mine, strict=True)):
            if i in WHOLE_NUMBERS.get(name, ()):
                np.testing.assert_array_equal(actual, expected, trial)
            else:
                finite = np.isfinite(expected)
                np.testing.assert_array_equal(actual[~finite], expected[~finite], trial)
                assert_close(np.where(finite, actual, 0), np.where(finite, expected, 0))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_numpy_keeps_the_dtype(dtype, name):
    """And so do the others, which `test_parity_with_numpy` holds to its dtypes."""
    for trial, arguments in primitive_trials(name, dtype).items():
        for i, x in enumerate(results(load_backend("numpy"), name, arguments)):
            expected = "int64" if i in WHOLE_NUMBERS.get(name, ()) else dtype
            assert x.dtype == expected, trial


def test_asarray_takes_on_another_array_s_dtype(ops, dtype):
    like = ops.asarray(np.ones(2, dtype=dtype))
    for x in (np.arange(3.0), np.arange(3, dtype="float32"), np.array([True, False])):
        assert ops.to_numpy(ops.asarray(x, like=like)).dtype == dtype


def test_an_addition_takes_on_the_logits_dtype(ops, dtype, rng):
    q, other = rng.standard_normal((1, 2, 5, 4)).astype(dtype), {"float32": "float64", "float64": "float32"}[dtype]
    omega = rng.standard_normal((5, 5)).astype(other)
    assert_close(ops.attention_weights(q, q, 0.5, omega), ops.attention_weights(q, q, 0.5, omega.astype(dtype)))
    assert ops.to_numpy(ops.attention_weights(q, q, 0.5, omega)).dtype == dtype


def test_what_gradients_are_recorded_for_is_read_too():
    torch = pytest.importorskip("torch")
    x = torch.arange(3.0, requires_grad=True)
    for part in (x, x[1:] * 2):
        np.testing.assert_array_equal(load_backend("numpy").to_numpy(part), part.detach().numpy())


def test_infinite_entries_are_the_last_of_the_smallest(ops, dtype):
    x = np.full((1, 90), np.inf, dtype=dtype)
    x[0, 70] = 2
    values, indices = (ops.to_numpy(part)[0].tolist() for part in ops.k_smallest(x, 3))
    assert values == [2, np.inf, np.inf] and indices[0] == 70 and len({*indices}) == 3


def test_of_equals_argmax_gives_the_first(ops, dtype):
    x = np.zeros((21, 70, 90), dtype=dtype)
    x[[5, 9, 20]] = 1
    assert (ops.to_numpy(ops.argmax(x, axis=0)) == 5).all()
    assert (ops.to_numpy(ops.argmax(x.transpose(1, 2, 0).copy(), axis=-1)) == 5).all()


def test_native_arrays_give_what_numpy_arrays_give(ops, rng):
    image, mask = rng.uniform(0, 1, (1, 3, 6, 8)).astype("float32"), rng.standard_normal((1, 2, 3, 4)).astype("float32")
    native = ops.pamr(ops.asarray(image), ops.asarray(mask), num_iter=2, dilations=(1,))
    assert_close(native, ops.pamr(image, mask, num_iter=2, dilations=(1,)))
    assert type(native) is type(ops.asarray(mask))


def test_a_deliberate_fault_is_caught(mirror, rng):
    """Parity must be able to fail: a Gaussian of another width, a swapped direction, a forgotten scale."""
    reference = load_backend("numpy")
    image, mask = rng.uniform(0, 1, (1, 3, 9, 13)).astype("float32"), rng.standard_normal((1, 2, 9, 13)).astype("float32")
    q, k = rng.standard_normal((2, 1, 2, 5, 4)).astype("float32")
    faults = [
        (mirror.neighbourhood_addition(4, 5, 2.001), reference.neighbourhood_addition(4, 5, 2.0)),
        (mirror.pamr(image[..., ::-1].copy(), mask, 1, (1,)), reference.pamr(image, mask, 1, (1,))),
        (mirror.attention_weights(q, k, 0.501), reference.attention_weights(q, k, 0.5)),
        (mirror.resize_bilinear(mask, (5, 6), True), reference.resize_bilinear(mask, (5, 6), False)),
    ]
    for wrong, right in faults:
        with pytest.raises(AssertionError, match="relative difference"):
            assert_close(wrong, right)


@pytest.mark.parametrize(("h", "w", "std"), [(1, 1, 1.0), (3, 5, 0.7), (4, 2, 5.0)])
def test_gaussians_against_loops(ops, h, w, std):
    assert_close(ops.gaussian_window(h, w, std, "float64"), naive.gaussian_window(h, w, std))
    for class_token in (True, False):
        addition = ops.neighbourhood_addition(h, w, std, class_token, "float64")
        assert_close(addition, naive.neighbourhood_addition(h, w, std, class_token))


def test_a_gaussian_of_any_finite_width(ops):
    assert_close(ops.gaussian_window(2, 3, sys.float_info.max), np.ones((2, 3), dtype="float32"))


def test_a_kept_neighbourhood_is_not_to_be_written_to():
    """It is computed once for a grid, and whoever asks again is given the same."""
    omega, again = (load_backend("numpy").neighbourhood_addition(3, 5, 2.0) for _ in range(2))
    assert again is omega
    with pytest.raises(ValueError, match="read-only"):
        omega[0, 0] = 1


def test_a_gaussian_far_narrower_than_a_patch_reaches_no_neighbour(ops):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_close(ops.neighbourhood_addition(2, 3, 1e-200, False), np.eye(6, dtype="float32"))


def test_attention_against_loops(ops, rng):
    q, k = rng.standard_normal((2, 2, 2, 5, 3))
    omega = rng.standard_normal((5, 5))
    assert_close(ops.attention_weights(q, k, 0.3), naive.attention_weights(q, k, 0.3))
    assert_close(ops.attention_weights(q, k, 0.3, omega), naive.attention_weights(q, k, 0.3, omega))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(2, 2), (7, 3), (1, 9), (4, 6)])
def test_bilinear_against_loops(ops, rng, size, align_corners):
    x = rng.standard_normal((2, 4, 6))
    assert_close(ops.resize_bilinear(x, size, align_corners), naive.resize_bilinear(x, size, align_corners))


def test_bicubic_is_torch_s_own(ops, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((1, 3, 5, 7))
    scale = ((8 + 0.1) / 5, (11 + 0.1) / 7)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), scale_factor=scale, mode="bicubic").numpy()
    assert_close(ops.resize_bicubic(x, expected.shape[-2:], scale), expected)


def test_pamr_against_loops(ops, rng):
    image, mask = rng.uniform(0, 1, (2, 3, 5, 6)), rng.standard_normal((2, 2, 5, 6))
    for num_iter, dilations in ((1, (1,)), (2, (1, 3))):
        assert_close(ops.pamr(image, mask, num_iter, dilations), naive.pamr(image, mask, num_iter, dilations))


def test_an_8_bit_picture_guides_pamr_as_its_values_do(ops, rng):
    image, mask = rng.integers(0, 256, (1, 3, 6, 7), dtype=np.uint8), rng.standard_normal((1, 2, 6, 7)).astype("float32")
    assert_close(ops.pamr(image, mask, 2, (1,)), ops.pamr(image.astype("float32"), mask, 2, (1,)))


def test_golden_window_addition_and_pamr(ops, golden):
    assert_close(ops.gaussian_window(9, 13, 2), golden["window_9_13_2"])
    assert_close(ops.neighbourhood_addition(5, 7, 2), golden["addition_5_7_2"])
    for name, num_iter, dilations in (("pamr_3_1", 3, (1,)), ("pamr_10_8_16", 10, (8, 16))):
        refined = ops.pamr(golden["pamr_image"], golden["pamr_mask"], num_iter, dilations)
        assert_close(refined, golden[name], "head")


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.sampled_from([(1,), (2, 5), (8, 16)]), st.integers(0, 99))
def test_pamr_laws(ops_law, h, w, num_iter, dilations, seed):
    """Transposing the picture transposes the answer; a batch is a loop; classes do not mix; a constant mask stays."""
    rng = np.random.default_rng(seed)
    image, mask = rng.uniform(0, 1, (2, 3, h, w)), rng.standard_normal((2, 3, h, w))
    refined = ops_law.to_numpy(ops_law.pamr(image, mask, num_iter, dilations))
    turned = [np.ascontiguousarray(np.swapaxes(x, -1, -2)) for x in (image, mask)]
    assert_close(np.swapaxes(ops_law.to_numpy(ops_law.pamr(*turned, num_iter, dilations)), -1, -2), refined)
    assert_close(ops_law.to_numpy(ops_law.pamr(image[1:], mask[1:, :1], num_iter, dilations)), refined[1:, :1])
    constant = np.full_like(mask, 0.5)
    assert_close(ops_law.to_numpy(ops_law.pamr(image, constant, num_iter, dilations)), constant)


@pytest.fixture(scope="module", params=["numpy", "torch"])
def ops_law(request):
    """The backends whose operations need no compilation for each new shape."""
    return load_backend(request.param)


def test_bad_arguments_are_told(ops, rng):
    image, mask = np.zeros((1, 3, 4, 4), "float32"), np.zeros((1, 2, 4, 4), "float32")
    bad = [
        lambda: ops.pamr(image, mask, 1, ()),
        lambda: ops.pamr(image, mask, 1, (0,)),
        lambda: ops.pamr(image, mask, -1),
        lambda: ops.pamr(image, np.zeros((2, 2, 4, 4), "float32")),
        lambda: ops.gaussian_window(3, 3, 0.0),
        lambda: ops.gaussian_window(3, 3, "wide"),
        lambda: ops.neighbourhood_addition(3, 3, float("inf")),
        lambda: ops.neighbourhood_addition(3, 3, float("nan")),
        lambda: ops.neighbourhood_addition(0, 3, 1.0),
        lambda: ops.resize_bilinear(mask, (0, 3)),
        lambda: ops.select_device("tpu"),
    ]
    for call in bad:
        with pytest.raises(core.InputError):
            call()
