"""Every `jt.code` kernel against the plain operators that a GPU runs instead."""

from pathlib import Path

import numpy as np
import pytest
from compare import assert_close
from conftest import backend_or_skip

from core.primitives.arrays import as_numpy
from core.primitives.resize import bilinear_taps


@pytest.fixture
def jittor():
    return backend_or_skip("jittor")


def inputs(jittor, rng, dtype):
    """Name -> arguments of the kernel and of its formula."""

    def array(*shape):
        return jittor.asarray(rng.standard_normal(shape).astype(dtype))

    image, affinity = jittor.asarray(rng.uniform(0, 1, (2, 3, 9, 13)).astype(dtype)), array(2, 16, 9, 13) / 16
    points = array(9, 5)
    products, squares = jittor.inner_products(points[2:6], points), jittor.sum(points * points, 1)
    return {
        "attention": [(array(2, 7, 6), array(2, 5, 6), array(2, 5, 6), 3, 0.5, None),
                      (array(1, 150, 4), array(1, 150, 4), array(1, 150, 4), 2, 2.0, array(150, 150))],
        "attention_weights": [(array(6, 7, 2), array(6, 5, 2), 0.5, None),
                              (array(2, 150, 2), array(2, 150, 2), 2.0, array(150, 150))],
        "k_smallest": [(array(4, 9), 3), (array(3, 500), 40), (array(2, 5), 5)],
        "layer_norm": [(array(2, 3, 8), array(8), array(8), 1e-5), (array(4, 8), array(8), array(8), 1e-3)],
        "link_weights": [(abs(array(3, 40)), 3.0, mass) for mass in (None, 0.45, 0.0)]
        + [(abs(array(2, 1)), 2.3, 0.5), (array(4, 300) * 0, 3.0, 0.45)],
        "linear": [(array(2, 3, 8), array(5, 8), array(5)), (array(4, 8), array(5, 8), None)],
        "matmul": [(array(3, 4), array(4, 5)), (array(3, 4), array(5, 4), True), (array(6, 3, 4), array(6, 4, 5)),
                   (array(1, 3, 4), array(2, 4, 5)), (array(6, 3, 4), array(1, 5, 4), True)],
        "nearest_of_products": [(products, squares, 2, 3, 1e-6), (products, squares, 2, 8, 0.9)],
        "pamr_affinity": [(image, (1, 3), 1e-8, 0.1), (image, (8, 16), 1e-8, 0.1)],
        "pamr_steps": [(array(2, 7, 9, 13), affinity, (1, 3), 3), (array(2, 1, 9, 13), affinity, (8, 16), 1),
                       (array(2, 4, 9, 13), affinity, (2, 1), 0)],
        "resize_bilinear": [
            (array(3, 5, 7), bilinear_taps(5, 9, False), bilinear_taps(7, 4, False)),
            (array(1, 5, 7), bilinear_taps(5, 9, True), bilinear_taps(7, 4, True)),
        ],
        "row_max": [(array(3, 50),), (array(1, 1),)],
        "row_sum": [(array(3, 50),), (array(1, 1),)],
        "softmax": [(array(3, 4, 5), -1), (array(3, 4, 5), 0), (array(2, 3, 300), 1), (array(7, 600), 0)],
        "softmax_at_least": [(array(3, 40), array(3) - 1, 3.0), (array(1, 5), array(1) - 9, 1.0)],
    }  # fmt: skip


KERNELS = ["attention", "attention_weights", "k_smallest", "layer_norm", "linear", "link_weights", "matmul",
           "nearest_of_products", "pamr_affinity", "pamr_steps", "resize_bilinear", "row_max", "row_sum", "softmax",
           "softmax_at_least"]  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_computes_its_formula(jittor, rng, dtype, name):
    from jt_backend import kernels
    from jt_backend.kernels import plain

    for arguments in inputs(jittor, rng, dtype)[name]:
        expected, actual = getattr(plain, name)(*arguments), getattr(kernels, name)(*arguments)
        if not isinstance(actual, tuple):
            expected, actual = (expected,), (actual,)
        for theirs, ours in zip(expected, actual, strict=True):
            assert_close(as_numpy(ours).astype(dtype), as_numpy(theirs).astype(dtype))


def test_every_kernel_is_compared(jittor):
    from jt_backend import kernels

    assert sorted(kernels.__all__) == KERNELS


def test_products_without_onednn_take_the_plain_operators(jittor, rng, monkeypatch):
    from jt_backend.jittor import jt

    x, y = (rng.standard_normal((2, 5, 6)).astype("float32") for _ in range(2))
    by_kernel = [as_numpy(jittor.attention(x, y, y, 2, 0.5)), as_numpy(jittor.inner_products(x, y))]
    monkeypatch.setattr(jt.compile_extern, "mkl_ops", None)
    by_operators = [jittor.attention(x, y, y, 2, 0.5), jittor.inner_products(x, y)]
    for a, b in zip(by_kernel, by_operators, strict=True):
        assert_close(as_numpy(b), a)


def test_kernels_are_compiled_once_for_all_sizes(jittor, rng):
    """A picture of another size compiles nothing: the cache folder gains no file."""
    from jt_backend.jittor import jt

    def run(height, width):
        image = rng.uniform(0, 1, (1, 3, height, width)).astype("float32")
        mask = rng.standard_normal((1, 2, height // 2, width // 3)).astype("float32")
        as_numpy(jittor.pamr(image, mask, 2, (1, 2)))

    run(12, 18)
    before = sorted(_files(jt.compiler.cache_path))
    run(20, 33)
    assert sorted(_files(jt.compiler.cache_path)) == before


def _files(folder):
    return list(Path(folder).rglob("*.so"))


def test_softmax_of_far_apart_logits(jittor):
    x = np.array([[0.0, -1e4, 1e4], [-1e30, -1e30, -1e30]], dtype="float32")
    expected = np.array([[0, 0, 1], [1 / 3, 1 / 3, 1 / 3]], dtype="float32")
    assert_close(as_numpy(jittor.softmax(x)), expected)
    assert_close(as_numpy(jittor.softmax(x.T.copy(), 0)), expected.T)
