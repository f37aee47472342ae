"""Every `jt.code` kernel against the plain operators that a GPU runs instead."""

import numpy as np
import pytest
from compare import assert_close
from conftest import backend_or_skip

from core.resize import bilinear_taps


@pytest.fixture
def jittor():
    return backend_or_skip("jittor")


def inputs(jittor, rng, dtype):
    """Name -> arguments of the kernel and of its formula."""

    def array(*shape):
        return jittor.asarray(rng.standard_normal(shape).astype(dtype))

    image, affinity = jittor.asarray(rng.uniform(0, 1, (2, 3, 9, 13)).astype(dtype)), array(2, 16, 9, 13)
    return {
        "softmax": [(array(3, 4, 5), -1), (array(3, 4, 5), 0), (array(2, 3, 300), 1), (array(7, 600), 0)],
        "layer_norm": [(array(2, 3, 8), array(8), array(8), 1e-5), (array(4, 8), array(8), array(8), 1e-3)],
        "resize_bilinear": [
            (array(3, 5, 7), bilinear_taps(5, 9, False), bilinear_taps(7, 4, False)),
            (array(1, 5, 7), bilinear_taps(5, 9, True), bilinear_taps(7, 4, True)),
        ],
        "pamr_step": [(array(2, 4, 9, 13), affinity, (1, 3)), (array(2, 1, 9, 13), affinity, (8, 16))],
        "pamr_affinity": [(image, (1, 3), 1e-8, 0.1), (image, (8, 16), 1e-8, 0.1)],
    }


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "resize_bilinear", "pamr_step", "pamr_affinity"])
def test_a_kernel_computes_its_formula(jittor, rng, dtype, name):
    from jt_backend import formulas, kernels

    for arguments in inputs(jittor, rng, dtype)[name]:
        expected = jittor.to_numpy(getattr(formulas, name)(*arguments))
        assert_close(jittor.to_numpy(getattr(kernels, name)(*arguments)), expected)


def test_kernels_are_compiled_once_for_all_sizes(jittor, rng):
    """A picture of another size compiles nothing: the cache folder gains no file."""
    from jt_backend import jt

    def run(height, width):
        image = rng.uniform(0, 1, (1, 3, height, width)).astype("float32")
        mask = rng.standard_normal((1, 2, height // 2, width // 3)).astype("float32")
        jittor.to_numpy(jittor.pamr(image, mask, 2, (1, 2)))

    run(12, 18)
    before = sorted(_files(jt.compiler.cache_path))
    run(20, 33)
    assert sorted(_files(jt.compiler.cache_path)) == before


def _files(folder):
    from pathlib import Path

    return list(Path(folder).rglob("*.so"))


def test_softmax_of_far_apart_logits(jittor):
    x = np.array([[0.0, -1e4, 1e4], [-1e30, -1e30, -1e30]], dtype="float32")
    expected = np.array([[0, 0, 1], [1 / 3, 1 / 3, 1 / 3]], dtype="float32")
    assert_close(jittor.to_numpy(jittor.softmax(x)), expected)
    assert_close(jittor.to_numpy(jittor.softmax(x.T.copy(), 0)), expected.T)
