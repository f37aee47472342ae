"""Every method on every backend: the authors' outputs, the loop-form oracle, and the laws a head obeys."""

import naive
import numpy as np
import pytest
from compare import assert_close
from towers import random_features, random_inputs

from core import METHODS, ClipFeatures, InputError, patch_embeddings
from core.clip.block import projections
from core.methods.proxyclip_fsa import values_on_external_grid
from core.methods.registry import resolve_options

VARIANTS = [
    ("vanilla", {}), ("maskclip", {}), ("sclip", {}), ("clearclip", {}), ("naclip", {}),
    ("naclip", {"gaussian_std": 1.5}), ("naclip", {"arch": "vanilla"}), ("naclip", {"attn_strategy": "nonly"}),
    ("naclip", {"attn_strategy": "kk"}), ("naclip", {"attn_strategy": "csa", "arch": "vanilla"}),
    ("naclip", {"attn_strategy": "vanilla", "arch": "vanilla"}), ("naclip", {"attn_strategy": "nonly", "arch": "vanilla"}),
]  # fmt: skip
CALIBRATED = [
    ("scclip", {}), ("scclip", {"self_attention": "qk"}), ("scclip", {"lof_variant": "breunig", "beta": 0.1}),
    ("sfp", {}), ("sfp", {"detector": "L2", "n_outliers": 3}), ("sfp", {"detector": "LOF"}), ("sfp", {"attention": "notes"}),
    ("sfp", {"beta": -0.2, "n_outliers": 2}), ("proxyclip", {}), ("proxyclip", {"beta": 0.5, "gamma": 1.0}),
    ("fsa", {}), ("fsa", {"isolate": False}), ("fsa", {"prune": False, "sharpness": 2.3}), ("fsa", {"ensemble": False}),
]  # fmt: skip
COMPOSED = [
    ("scclip+neighbourhood+fsa", {"gaussian_std": 2.0}), ("naclip+repair+fsa", {}), ("maskclip+fsa", {}), ("sclip+fsa", {}),
    ("clearclip+neighbourhood", {}), ("sfp+fsa+neighbourhood", {}), ("proxyclip+fsa", {}), ("vanilla+repair", {}),
]  # fmt: skip


def few_neighbours(method, options=None):
    """Options for a small grid: among all N - 1 neighbours the two points furthest apart tie, and rounding decides."""
    return {"n_neighbors": 4} if "n_neighbors" in resolve_options(method, options or {}) else {}


PUBLISHED = {
    "vanilla": ("vanilla", "vanilla"), "maskclip": ("identity", "reduced"), "sclip": ("csa", "vanilla"),
    "clearclip": ("qq", "reduced"), "naclip": ("naclip", "reduced"),
}  # fmt: skip


@pytest.mark.parametrize("method", ["vanilla", "sclip", "naclip", "scclip", "sfp_SOM", "proxyclip", "fsa"])
def test_golden(ops, golden, golden_features, method):
    inputs = {"text": golden["text"], "external": golden["external"]}
    tokens = patch_embeddings(golden_features, method=method.split("_")[0], backend=ops.name, **inputs)
    assert tokens.shape == (1, *((28, 28) if method in ("proxyclip", "fsa") else (14, 14)), 64)
    assert_close(tokens.reshape(1, -1, 64), golden[f"{method}_224"], "feedback" if method == "fsa" else "head")


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


@pytest.mark.parametrize(("method", "options"), VARIANTS + CALIBRATED + COMPOSED)
def test_backends_agree(mirror, dtype, rng, method, options):
    features, inputs = random_features(rng, dtype=dtype), random_inputs(rng, dtype=dtype)
    options = few_neighbours(method, options) | options
    if "fsa" in method and dtype == "float32":
        options["prune"] = False  # on so small a grid a link at the boundary, kept or not, is more than rounding
    expected = patch_embeddings(features, method=method, backend="numpy", **inputs, **options)
    kind = "head" if dtype == "float32" and (method, options) not in VARIANTS else None
    assert_close(patch_embeddings(features, method=method, backend=mirror.name, **inputs, **options), expected, kind)


@pytest.mark.parametrize("method", [*METHODS, "scclip+neighbourhood+fsa", "naclip+repair"])
def test_a_batch_is_a_loop(ops, rng, method):
    features, inputs = random_features(rng, batch=3, dtype="float64"), random_inputs(rng, 3, dtype="float64")
    inputs |= few_neighbours(method)
    whole = patch_embeddings(features, method=method, backend=ops.name, **inputs)
    for i in range(3):
        one = slice(i, i + 1)
        alone = ClipFeatures([x[one] for x in features.hidden], features.weights, features.grid, features.attention[one])
        given = inputs | {"external": inputs["external"][one]}
        assert_close(patch_embeddings(alone, method=method, backend=ops.name, **given), whole[one])


@pytest.mark.parametrize("method", [*METHODS, "scclip+neighbourhood+fsa", "naclip+repair"])
@pytest.mark.parametrize("grid", [(3, 5), (1, 4), (6, 2)])
def test_transposing_the_grid_transposes_the_answer(ops, rng, method, grid):
    features, inputs = random_features(rng, grid=grid, dtype="float64"), random_inputs(rng, dtype="float64")
    inputs |= few_neighbours(method)
    h, w = grid
    order = np.concatenate([[0], 1 + np.arange(h * w).reshape(h, w).T.ravel()])
    hidden, attention = [x[:, order] for x in features.hidden], features.attention[:, :, order][..., order]
    turned = ClipFeatures(hidden, features.weights, (w, h), attention)
    turned_inputs = inputs | {"external": inputs["external"].swapaxes(-1, -2)}
    expected = patch_embeddings(features, method=method, backend=ops.name, **inputs).transpose(0, 2, 1, 3)
    assert_close(patch_embeddings(turned, method=method, backend=ops.name, **turned_inputs), expected)


@pytest.mark.parametrize("method", ["fsa", "scclip+fsa", "naclip+fsa", "sfp+fsa"])
def test_the_order_of_classes_does_not_matter(ops, rng, method):
    features, inputs = random_features(rng, dtype="float64"), random_inputs(rng, dtype="float64")
    expected = patch_embeddings(features, method, ops.name, **inputs)
    turned = inputs | {"text": inputs["text"][::-1]}
    assert_close(patch_embeddings(features, method, ops.name, **turned), expected)


@pytest.mark.parametrize(("method", "base"), [("fsa", "proxyclip"), ("scclip+fsa", "scclip"), ("maskclip+fsa", "maskclip")])
def test_feedback_with_everything_off_is_its_base(ops, rng, method, base):
    features, inputs = random_features(rng, dtype="float64"), random_inputs(rng, dtype="float64")
    off = patch_embeddings(features, method, ops.name, **inputs, isolate=False, prune=False, ensemble=False)
    assert_close(off, patch_embeddings(features, base, ops.name, **inputs))


def test_fsa_is_proxyclip_with_feedback(ops, rng):
    features, inputs = random_features(rng, dtype="float64"), random_inputs(rng, dtype="float64")
    composed = patch_embeddings(features, "proxyclip+fsa", ops.name, **inputs)
    assert_close(patch_embeddings(features, "fsa", ops.name, **inputs), composed)
    assert np.abs(composed - patch_embeddings(features, "proxyclip", ops.name, **inputs)).max() > 1e-3


@pytest.mark.parametrize(("method", "says"), [
    ("naclip+neighbourhood", "already"), ("maskclip+neighbourhood", "no attention"), ("fsa+fsa", "already"),
    ("proxyclip+neighbourhood", "another model"), ("vanilla+fsa", "look alike"), ("scclip+repair", "already"),
    ("scclip+fsa+fsa", "twice"), ("scclip+blur", "neighbourhood, repair, fsa"), ("+fsa", "choose one of"),
])  # fmt: skip
def test_impossible_compositions_are_refused_with_the_reason(rng, method, says):
    with pytest.raises(InputError, match=says):
        patch_embeddings(random_features(rng), method, **random_inputs(rng))


def test_what_a_method_lacks_is_told(rng):
    features, inputs = random_features(rng), random_inputs(rng)
    blind = ClipFeatures(features.hidden, features.weights, features.grid)
    shallow = ClipFeatures(features.hidden[:4], features.weights, features.grid, features.attention)
    for call, says in [
        (lambda: patch_embeddings(features, "proxyclip"), "needs another vision model's features"),
        (lambda: patch_embeddings(features, "fsa", external=inputs["external"]), "text"),
        (lambda: patch_embeddings(features, "scclip+fsa"), "text"),
        (lambda: patch_embeddings(blind, "sfp"), "attention=True"),
        (lambda: patch_embeddings(shallow, "scclip"), "layer"),
        (lambda: patch_embeddings(features, "proxyclip", external=inputs["external"][:1]), "2 pictures"),
        (lambda: patch_embeddings(features, "sfp", detector="DOM"), "SOM, L2, LOF"),
    ]:
        with pytest.raises(InputError, match=says):
            call()


def test_identical_tokens_are_no_trouble(ops, rng):
    """A blank picture: no outliers, no NaN, and all patches alike, by every method."""
    features, inputs = random_features(rng, batch=1), random_inputs(rng, batch=1)
    hidden = [np.repeat(x[:, :1], x.shape[1], axis=1) for x in features.hidden]
    blank = ClipFeatures(hidden, features.weights, features.grid, features.attention)
    inputs["external"] = np.ones_like(inputs["external"])
    for method in METHODS:
        out = patch_embeddings(blank, method, ops.name, **inputs)
        assert np.isfinite(out).all(), method
        assert np.abs(out - out[:, :1, :1]).max() < 1e-4, method


def test_the_published_recipes_are_naclip_s_options(rng):
    features = random_features(rng)
    for method, (strategy, arch) in PUBLISHED.items():
        same = patch_embeddings(features, "naclip", attn_strategy=strategy, arch=arch)
        assert_close(same, patch_embeddings(features, method))


def test_wrong_options_are_told(rng):
    features = random_features(rng)
    for method, options in [
        ("naclip", {"sigma": 3}), ("vanilla", {"gaussian_std": 3}), ("naclip", {"attn_strategy": "gauss"}),
        ("naclip", {"arch": "half"}), ("naclip", {"gaussian_std": 0}), ("nacl", {}), ("scclip", {"self_attention": "vv"}),
        ("scclip", {"n_neighbors": 0}), ("scclip", {"lof_variant": "lof"}), ("scclip", {"gaussian_std": 3.0}),
        ("scclip", {"beta": "high"}), ("scclip", {"multi_layers": "3,9"}), ("scclip", {"multi_layers": (3, 20)}),
        ("scclip", {"contamination": 1.5}), ("sfp", {"n_outliers": 0}), ("sfp", {"n_outliers": 2.5}),
        ("naclip", {"gaussian_std": True}), ("naclip", {"gaussian_std": 2.0, "attn_strategy": "kk"}),
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
    assert [id(x) in seen for x in features.hidden] == [False] * 4 + [True]


@pytest.mark.parametrize("grid", [(3, 5), (4, 7)])  # fewer patches than the width of 16, and more
@pytest.mark.parametrize("places", [(6, 4), (3, 5), (4, 7), (2, 2)])
def test_resizing_the_attention_is_resizing_the_values(ops, rng, grid, places):
    features = random_features(rng, grid=grid, dtype="float64").to(ops)
    patches = features.hidden[-1][:, 1:]
    attention = ops.asarray(rng.random((2, 1, 3, places[0] * places[1])))
    start, out = values_on_external_grid(ops, features, patches, places)
    (v,) = projections(ops, features.weights, patches, "v")
    fmap = np.swapaxes(ops.to_numpy(v), 1, 2).reshape(2, 16, *grid)
    resized = np.swapaxes(ops.to_numpy(ops.resize_bilinear(fmap, places)).reshape(2, 16, -1), 1, 2)
    mixed = ops.to_numpy(attention)[:, 0] @ resized
    weight, bias = (ops.to_numpy(features.weights[f"attn.out_proj.{name}"]) for name in ("weight", "bias"))
    assert_close(ops.to_numpy(out(start(attention))), mixed @ weight.T + bias)
