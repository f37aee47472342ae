"""Outliers and their repair: the authors' figures, scikit-learn, loops, and inputs that would break a careless version."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compare import assert_close
from conftest import backend_or_skip
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError, load_backend
from core.backends import PACKAGES
from core.methods.outliers import attention_sinks, long_tokens, outlier_mask


def test_golden(ops, golden):
    scores = ops.to_numpy(ops.local_outlier_factor(golden["lof_x"]))
    assert_close(scores, golden["lof_scores"], "head")
    mask = ops.to_numpy(outlier_mask(ops, ops.asarray(scores[None])))
    assert np.flatnonzero(mask).tolist() == golden["lof_outliers"].tolist()
    outliers = np.zeros((1, 14, 14), dtype=bool)
    outliers[0, golden["interp_outliers"][:, 0], golden["interp_outliers"][:, 1]] = True
    assert_close(ops.mean_interpolation(golden["interp_x"], outliers), golden["interp_y"])


@pytest.mark.parametrize(("k", "unit"), [(1, 1.0), (5, 1.0), (30, 1.0), (5, 1e-9)])
def test_breunig_is_scikit_learn_s(ops, rng, k, unit):
    """In a unit so small that its guard for identical points counts, too."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    x = unit * np.concatenate([rng.standard_normal((60, 4)), 5 + rng.standard_normal((7, 4)), [[9, 9, 9, 9]]])
    expected = -neighbors.LocalOutlierFactor(n_neighbors=k).fit(x).negative_outlier_factor_
    scores = ops.to_numpy(ops.local_outlier_factor(x, n_neighbors=k, variant="breunig"))
    np.testing.assert_allclose(scores, expected, rtol=1e-7)


def naive_lof(x, k):
    """SC-CLIP's variant, point by point."""
    d = np.array([[np.sum((a - b) ** 2) for b in x] for a in x])
    near = [[j for j in np.argsort(d[i], kind="stable") if j != i][:k] for i in range(len(x))]
    own = [d[i, near[i][-1]] for i in range(len(x))]
    density = [k / sum(max(d[i, j], own[i]) for j in near[i]) for i in range(len(x))]
    return np.array([np.mean([density[j] for j in near[i]]) / density[i] for i in range(len(x))])


def test_scclip_variant_against_loops(ops, rng):
    x = rng.standard_normal((2, 20, 3))
    scores = ops.to_numpy(ops.local_outlier_factor(x, n_neighbors=4))
    for i in range(2):
        np.testing.assert_allclose(scores[i], naive_lof(x[i], 4), rtol=1e-6)


@pytest.mark.parametrize("variant", ["scclip", "breunig"])
def test_identical_points_score_one(ops, dtype, rng, variant):
    x = np.repeat(rng.standard_normal((1, 8)).astype(dtype), 12, axis=0)
    np.testing.assert_allclose(ops.to_numpy(ops.local_outlier_factor(x, 5, variant)), 1, rtol=1e-5)
    assert not ops.to_numpy(outlier_mask(ops, ops.local_outlier_factor(x[None], 5, variant))).any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_more_neighbours_than_points(ops, rng, n):
    scores = ops.to_numpy(ops.local_outlier_factor(rng.standard_normal((n, 4)).astype("float32"), 30))
    assert scores.shape == (n,)
    assert np.isfinite(scores).all()
    if n < 3:  # none is sparser than the others
        np.testing.assert_allclose(scores, 1, rtol=1e-6)


def test_some_doubles_among_other_points_stay_finite(ops, rng):
    x = rng.standard_normal((20, 4)).astype("float32")
    x[:8] = x[0]
    for variant in ("scclip", "breunig"):
        assert np.isfinite(ops.to_numpy(ops.local_outlier_factor(x, 5, variant))).all()


def test_bad_features_are_told(ops, rng):
    x = rng.standard_normal((6, 3))
    for bad in (np.nan, np.inf, -np.inf):
        broken = x.copy()
        broken[2, 1] = bad
        with pytest.raises(InputError, match="finite"):
            ops.local_outlier_factor(broken)
    with pytest.raises(InputError, match="n_neighbors"):
        ops.local_outlier_factor(x, 0)
    with pytest.raises(InputError, match="variant"):
        ops.local_outlier_factor(x, variant="knn")


def test_the_size_of_a_block_changes_nothing(ops, rng, monkeypatch):
    x = rng.standard_normal((2, 50, 6))
    whole = ops.to_numpy(ops.local_outlier_factor(x, 7))
    monkeypatch.setattr(f"{PACKAGES[ops.name]}.primitives.nearest.BLOCK_ENTRIES", 150)
    assert_close(ops.local_outlier_factor(x, 7), whole)


def naive_interpolation(fmap, outliers):
    out = fmap.copy()
    batch, _, h, w = fmap.shape
    for b in range(batch):
        for i, j in np.argwhere(outliers[b]):
            around = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if (di, dj) != (0, 0)]
            sound = [(r, c) for r, c in around if 0 <= r < h and 0 <= c < w and not outliers[b, r, c]]
            if sound:
                out[b, :, i, j] = np.mean([fmap[b, :, r, c] for r, c in sound], axis=0)
    return out


@pytest.mark.parametrize("share", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("grid", [(1, 1), (4, 7), (5, 1)])
def test_interpolation_against_loops(ops, rng, grid, share):
    fmap, outliers = rng.standard_normal((2, 3, *grid)), rng.uniform(size=(2, *grid)) < share
    assert_close(ops.mean_interpolation(fmap, outliers), naive_interpolation(fmap, outliers))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_transposing_the_map_transposes_its_repair(h, w, seed):
    rng, ops = np.random.default_rng(seed), load_backend("numpy")
    fmap, outliers = rng.standard_normal((1, 2, h, w)), rng.uniform(size=(1, h, w)) < 0.4
    turned = ops.mean_interpolation(fmap.swapaxes(-1, -2), outliers.swapaxes(-1, -2))
    assert_close(turned.swapaxes(-1, -2), ops.mean_interpolation(fmap, outliers))


def test_attention_sinks_by_hand(ops):
    """Patch 1 draws most but keeps to itself; 2 and 3 are candidates; the larger of them is taken when one is asked for."""
    attention = np.zeros((1, 1, 4, 4), dtype="float32")
    attention[0, 0, 0] = [0.1, 0.4, 0.2, 0.3]
    attention[0, 0, 1, 1], attention[0, 0, 2, 2], attention[0, 0, 3, 3] = 0.9, 0.1, 0.2
    assert ops.to_numpy(attention_sinks(ops, attention, 10, 0.3, 5.0)).tolist() == [[False, True, True]]
    assert ops.to_numpy(attention_sinks(ops, attention, 1, 0.3, 5.0)).tolist() == [[False, False, True]]


def test_a_sink_draws_more_than_it_keeps_not_as_much(ops):
    """Patch 0 keeps exactly 0.5 * 2 times what the class token gives it, all of them powers of two: no sink."""
    attention = np.zeros((1, 1, 3, 3), dtype="float32")
    attention[0, 0, 0] = [0.5, 0.25, 0.25]
    attention[0, 0, 1, 1], attention[0, 0, 2, 2] = 0.25, 0.125
    assert ops.to_numpy(attention_sinks(ops, attention, 10, 0.5, 2.0)).tolist() == [[False, True]]
    assert ops.to_numpy(attention_sinks(ops, attention, 10, 0.5, 1.0)).tolist() == [[False, False]]


def test_long_tokens(ops, rng):
    patches = rng.standard_normal((2, 12, 4)).astype("float32")
    mask = ops.to_numpy(long_tokens(ops, ops.asarray(patches), 3))
    for i in range(2):
        assert set(np.flatnonzero(mask[i])) == set(np.argsort(np.linalg.norm(patches[i], axis=-1))[-3:])
    assert ops.to_numpy(long_tokens(ops, ops.asarray(patches), 99)).all()


ROOT = Path(__file__).resolve().parents[1]
MEASURE = """
import resource, sys
sys.path.insert(0, ".")
import numpy as np
from core import load_backend
ops = load_backend("{backend}")
{setup}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{work}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def megabytes(backend, setup, work):
    """What the work's peak adds to the peak before it, measured in a process of its own."""
    code = MEASURE.format(backend=backend, setup=setup, work=work)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "torch", "jittor"])
def test_memory_of_lof(backend):
    backend_or_skip(backend)
    setup = """
x = np.random.default_rng(0).standard_normal((5184, 1024)).astype('float32')
ops.local_outlier_factor(x[:64, :64])"""
    assert megabytes(backend, setup, "ops.to_numpy(ops.local_outlier_factor(x))") < 400


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "torch", "jittor"])
def test_memory_of_fsa(backend):
    """The whole head at 64 x 64 external places and 171 classes."""
    backend_or_skip(backend)
    setup = """
sys.path.insert(0, "tests")
from towers import random_features
from core import patch_embeddings
rng = np.random.default_rng(0)
features = random_features(rng, batch=1, grid=(14, 14), width=64, embed=32)
text = rng.standard_normal((171, 32)).astype("float32")
external = rng.standard_normal((1, 24, 64, 64)).astype("float32")
run = lambda e: patch_embeddings(features, "fsa", ops.name, text=text, external=e)
run(external[:, :, :8, :8])"""
    assert megabytes(backend, setup, "run(external)") < 1000
