"""Every method on every backend: the authors' outputs, the loop-form oracle, and the laws a head obeys."""

import naive
import numpy as np
import pytest
from compare import assert_close
from towers import random_features

from core import METHODS, ClipFeatures, InputError, patch_embeddings

VARIANTS = [
    ("vanilla", {}), ("maskclip", {}), ("sclip", {}), ("clearclip", {}), ("naclip", {}),
    ("naclip", {"gaussian_std": 1.5}), ("naclip", {"arch": "vanilla"}), ("naclip", {"attn_strategy": "nonly"}),
    ("naclip", {"attn_strategy": "kk"}), ("naclip", {"attn_strategy": "csa", "arch": "vanilla"}),
    ("naclip", {"attn_strategy": "vanilla", "arch": "vanilla"}), ("naclip", {"attn_strategy": "nonly", "arch": "vanilla"}),
]  # fmt: skip
PUBLISHED = {
    "vanilla": ("vanilla", "vanilla"), "maskclip": ("identity", "reduced"), "sclip": ("csa", "vanilla"),
    "clearclip": ("qq", "reduced"), "naclip": ("naclip", "reduced"),
}  # fmt: skip


@pytest.mark.parametrize("method", ["vanilla", "sclip", "naclip"])
def test_golden(ops, golden, golden_features, method):
    tokens = patch_embeddings(golden_features, method=method, backend=ops.name)
    assert tokens.shape == (1, 14, 14, 64)
    assert_close(tokens.reshape(1, 196, 64), golden[f"{method}_224"], "head")


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_against_loops(ops, rng, method, options):
    activation = "gelu" if method == "sclip" else "quick_gelu"
    features = random_features(rng, dtype="float64", activation=activation)
    strategy, arch = PUBLISHED[method]
    expected = naive.last_block(
        features, options.get("attn_strategy", strategy), options.get("arch", arch), options.get("gaussian_std", 5.0)
    )
    actual = patch_embeddings(features, method=method, backend=ops.name, **options)
    assert_close(actual.reshape(expected.shape), expected)


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_backends_agree(mirror, dtype, rng, method, options):
    features = random_features(rng, dtype=dtype)
    expected = patch_embeddings(features, method=method, backend="numpy", **options)
    assert_close(patch_embeddings(features, method=method, backend=mirror.name, **options), expected)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_batch_is_a_loop(ops, rng, method):
    features = random_features(rng, batch=3, dtype="float64")
    whole = patch_embeddings(features, method=method, backend=ops.name)
    for i in range(3):
        alone = ClipFeatures([x[i : i + 1] for x in features.hidden], features.weights, features.grid)
        assert_close(patch_embeddings(alone, method=method, backend=ops.name), whole[i : i + 1])


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("grid", [(3, 5), (1, 4), (6, 2)])
def test_transposing_the_grid_transposes_the_answer(ops, rng, method, grid):
    features = random_features(rng, grid=grid, dtype="float64")
    h, w = grid
    order = np.concatenate([[0], 1 + np.arange(h * w).reshape(h, w).T.ravel()])
    turned = ClipFeatures([x[:, order] for x in features.hidden], features.weights, (w, h))
    expected = patch_embeddings(features, method=method, backend=ops.name).transpose(0, 2, 1, 3)
    assert_close(patch_embeddings(turned, method=method, backend=ops.name), expected)


def test_the_published_recipes_are_naclip_s_options(rng):
    features = random_features(rng)
    for method, (strategy, arch) in PUBLISHED.items():
        same = patch_embeddings(features, "naclip", attn_strategy=strategy, arch=arch)
        assert_close(same, patch_embeddings(features, method))


def test_wrong_options_are_told(rng):
    features = random_features(rng)
    for method, options in [
        ("naclip", {"sigma": 3}), ("vanilla", {"gaussian_std": 3}), ("naclip", {"attn_strategy": "gauss"}),
        ("naclip", {"arch": "half"}), ("naclip", {"gaussian_std": 0}), ("nacl", {}),
    ]:  # fmt: skip
        with pytest.raises(InputError):
            patch_embeddings(features, method, **options)


def test_features_survive_saving(tmp_path, rng):
    features = random_features(rng)
    features.save(tmp_path / "f.npz")
    loaded = ClipFeatures.load(tmp_path / "f.npz")
    assert loaded.grid == features.grid
    assert (loaded.weights.n_heads, loaded.weights.activation) == (features.weights.n_heads, features.weights.activation)
    assert_close(patch_embeddings(loaded), patch_embeddings(features))
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


def test_what_is_not_a_features_file_is_told(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", facts=np.array([{"a": 1}], dtype=object))
    for name in ("text.npz", "other.npz", "pickle.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            ClipFeatures.load(tmp_path / name)


def test_features_that_do_not_fit_are_told(rng):
    features = random_features(rng)
    with pytest.raises(InputError, match="4 x 5"):
        ClipFeatures(features.hidden, features.weights, (4, 5))
    with pytest.raises(InputError, match="proj"):
        type(features.weights)({"ln_1.weight": 0}, 2)


def test_only_the_hidden_states_that_are_read_are_converted(rng):
    features = random_features(rng, layers=6)
    seen = []

    class Counting:
        name = "counting"

        @staticmethod
        def asarray(x):
            seen.append(id(x))
            return x

    converted = features.to(Counting)
    assert converted.hidden[-1] is features.hidden[-1]
    assert [id(x) in seen for x in features.hidden] == [False, False, False, False, True]
