"""Methods of several steps against METHODS written out plainly (`naive_methods`), their options included, and what they saw."""

import inspect
from dataclasses import FrozenInstanceError

import naive_methods
import numpy as np
import pytest
from compare import assert_close
from test_published_constants import SCCLIP, SFP
from towers import random_features, random_inputs

from core import patch_embeddings
from core.backends import load_backend
from core.clip.view import View
from core.errors import InputError
from core.methods import feedback
from core.methods.affinity import contrast_attention
from core.methods.compose import PARTS, Given
from core.methods.outliers import attention_sinks, find_outliers, largest, outlier_mask
from core.methods.registry import METHODS, apply_method, resolve_options
from core.primitives.chunks import row_blocks

OFF = {"isolate": False, "prune": False, "ensemble": False}


@pytest.fixture
def features(rng):
    return random_features(rng, dtype="float64")


@pytest.fixture
def inputs(rng):
    return random_inputs(rng, dtype="float64")


@pytest.mark.parametrize(("method", "options"), [
    ("scclip", {"n_neighbors": 4, "contamination": 0.2}), ("scclip", {"n_neighbors": 5, "self_attention": "qk", "beta": 0.1}),
    ("scclip", {"n_neighbors": 4, "pre_layer": 5, "post_layer": 6, "multi_layers": (2, 4), "res_cls": 0.7}),
    ("sfp", {}), ("sfp", {"n_outliers": 2, "res_scale": 4.0, "beta": 0.2}), ("sfp", {"detector": "L2", "n_outliers": 3}),
    ("sfp", {"detector": "LOF", "n_neighbors": 4, "contamination": 0.3}), ("sfp", {"attention": "notes"}),
    ("scclip+neighbourhood", {"n_neighbors": 4, "gaussian_std": 1.5}), ("sfp+neighbourhood", {"gaussian_std": 1.5}),
    ("sfp+neighbourhood", {"gaussian_std": 1.5, "attention": "notes"}),
])  # fmt: skip
def test_calibrated_methods(ops, features, method, options):
    values = resolve_options(method, options)
    expected, attention = naive_methods.calibrated(features, method.split("+")[0], values, values.get("gaussian_std"))
    actual, seen = apply_method(ops, features, method, **options)
    assert_close(ops.to_numpy(actual).reshape(expected.shape), expected)
    assert_close(seen["attention"], attention)
    for b, (hidden, _) in enumerate(naive_methods.pictures(features)):
        outliers = naive_methods.outliers_of(hidden, features.attention[b], values)
        repaired = naive_methods.interpolated(hidden[-1][1:], outliers, (3, 5))
        np.testing.assert_array_equal(ops.to_numpy(seen["outliers"])[b].ravel(), outliers)
        assert_close(ops.to_numpy(seen["before_repair"])[b].reshape(15, 16), hidden[-1][1:])
        assert_close(ops.to_numpy(seen["after_repair"])[b].reshape(15, 16), repaired)


@pytest.mark.parametrize("method", ["scclip+fsa", "sfp+fsa"])
def test_calibrated_methods_fed_back(ops, features, inputs, method):
    options = {"n_neighbors": 4} if method == "scclip+fsa" else {}
    values = resolve_options(method, options)
    expected, _ = naive_methods.calibrated(features, method.split("+")[0], values, text=inputs["text"])
    assert_close(patch_embeddings(features, method, ops.name, **inputs, **options).reshape(expected.shape), expected)


@pytest.mark.parametrize("places", [(4, 3), (3, 5), (5, 6)])  # other than CLIP's grid, the same, and more of them
@pytest.mark.parametrize("options", [{}, {"beta": 0.5, "gamma": 1.0}])
def test_proxyclip(ops, rng, features, options, places):
    fields = random_inputs(rng, dtype="float64", places=places)["external"]
    expected, attention = naive_methods.by_external(features, fields, **options)
    actual, seen = apply_method(ops, features, "proxyclip", external=fields, **options)
    assert actual.shape == (2, *places, 8)
    assert_close(ops.to_numpy(actual).reshape(expected.shape), expected)
    assert_close(seen["attention"], attention)


@pytest.mark.parametrize("options", [
    {}, {"isolate": False}, {"prune": False, "sharpness": 2.3}, {"ensemble": False}, {"mass": 0.2}, {"mass": 0.8, "gamma": 1.0},
])  # fmt: skip
def test_fsa(ops, features, inputs, options):
    expected, attention = naive_methods.by_external(features, inputs["external"], inputs["text"], **options)
    actual, seen = apply_method(ops, features, "fsa", **inputs, **options)
    assert_close(ops.to_numpy(actual).reshape(expected.shape), expected)
    assert_close(seen["attention"], attention)
    assert set(seen) == {"attention", "corrected_attention", "before_feedback"}


@pytest.mark.parametrize(("method", "strategy", "std", "options"), [
    ("naclip+fsa", "naclip", 5.0, {}), ("naclip+fsa", "naclip", 1.5, {"gaussian_std": 1.5, "prune": False}),
    ("naclip+fsa", "kk", None, {"attn_strategy": "kk", "isolate": False}), ("sclip+fsa", "csa", None, {}),
    ("clearclip+fsa", "qq", None, {"ensemble": False}), ("maskclip+fsa", "identity", None, {}),
    ("clearclip+neighbourhood+fsa", "qq", 2.0, {"gaussian_std": 2.0}),
    ("naclip+repair+fsa", "naclip", 5.0, {"n_neighbors": 4, "contamination": 0.2}),
])  # fmt: skip
def test_last_block_methods_fed_back(ops, features, inputs, method, strategy, std, options):
    repaired = (4, 0.2) if "repair" in method else None
    own = {name: value for name, value in options.items() if name in OFF}
    expected, attention, corrected = naive_methods.fed_last_block(features, strategy, inputs["text"], std, repaired, **own)
    actual, seen = apply_method(ops, features, method, **inputs, **options)
    assert_close(ops.to_numpy(actual).reshape(expected.shape), expected)
    assert_close(ops.to_numpy(seen["corrected_attention"])[:, 0], corrected)
    assert ("attention" in seen) == (strategy != "identity")
    if strategy != "identity":
        assert_close(seen["attention"], attention)


@pytest.mark.parametrize(("method", "base"), [
    ("fsa", "proxyclip"), ("scclip+fsa", "scclip"), ("sfp+fsa", "sfp"), ("maskclip+fsa", "maskclip"),
    ("clearclip+fsa", None), ("sclip+neighbourhood+fsa", None),
])  # fmt: skip
def test_before_the_feedback_is_what_comes_without_it(ops, features, inputs, method, base):
    """The base method's own embeddings; of those with a class token, what feeding nothing back gives."""
    more = {"n_neighbors": 4} if method == "scclip+fsa" else {}
    _, seen = apply_method(ops, features, method, **inputs, **more)
    without = patch_embeddings(features, base or method, ops.name, **inputs, **more, **({} if base else OFF))
    assert_close(seen["before_feedback"], without)
    _, nothing = apply_method(ops, features, method, **inputs, **more, **OFF)
    assert set(seen) - set(nothing) == {"corrected_attention", "before_feedback"}


@pytest.mark.parametrize(("method", "strategy"), [
    ("naclip", "naclip"), ("sclip", "csa"), ("clearclip", "qq"), ("vanilla", "vanilla"),
])  # fmt: skip
def test_the_attention_that_is_seen_is_between_patches(ops, features, method, strategy):
    omega = naive_methods.neighbourhood_addition(3, 5, 5.0, True) if method == "naclip" else 0.0
    _, seen = apply_method(ops, features, method)
    for b, (hidden, weights) in enumerate(naive_methods.pictures(features)):
        block = naive_methods.LastBlock(features, weights)
        projected = dict(zip("qkv", block.projected(hidden[-1]), strict=True))
        pairs = naive_methods.PAIRS[strategy]
        whole = sum(block.by_tokens(projected[x], projected[y], omega) for x, y in pairs)
        assert_close(ops.to_numpy(seen["attention"])[b], whole[:, 1:, 1:])


def test_what_has_no_attention_shows_none(features):
    for method, options in (("maskclip", {}), ("naclip", {"attn_strategy": "identity"})):
        _, seen = apply_method(load_backend("numpy"), features, method, **options)
        assert set(seen) == set()


def test_the_corrected_attention_is_whole_in_blocks_too(ops, features, inputs, monkeypatch):
    _, whole = apply_method(ops, features, "fsa", **inputs)
    expected = ops.to_numpy(whole["corrected_attention"])
    monkeypatch.setattr(feedback, "BLOCK_ENTRIES", 60)  # of 2 pictures' 12 links a row: blocks of 2 rows
    _, seen = apply_method(ops, features, "fsa", **inputs)
    assert_close(seen["corrected_attention"], expected)
    np.testing.assert_allclose(expected.sum(axis=-1), 1)


def test_a_row_below_the_mean_keeps_its_own_largest(ops, dtype):
    """What a row keeps does not hang on what others keep: here the mean is .6, and row 1 lies below it throughout."""
    similarity = np.array([[[0.9, 0.9, 0.8], [0.1, 0.3, 0.2], [0.4, 0.9, 0.9]]], dtype=dtype)
    weights = ops.to_numpy(contrast_attention(ops, ops.asarray(similarity)))
    e = np.exp(-0.3)
    expected = [[1 / (2 + e), 1 / (2 + e), e / (2 + e)], [0, 1, 0], [0, 0.5, 0.5]]
    np.testing.assert_allclose(weights[0, 0], expected, rtol=1e-5)


def test_scores_of_nothing_are_no_outliers(ops, dtype):
    """Strictly above the quantile, also where it is 0 and rounding has nothing to be measured by."""
    assert not ops.to_numpy(outlier_mask(ops, ops.asarray(np.zeros((2, 5), dtype=dtype)), 0.5)).any()


def test_no_share_and_all_of_it_may_be_asked_for(ops, dtype):
    scores = ops.asarray(np.array([[1.0, 3.0, 2.0, 1.5]], dtype=dtype))
    assert not ops.to_numpy(outlier_mask(ops, scores, 0)).any()
    assert ops.to_numpy(outlier_mask(ops, scores, 1)).tolist() == [[False, True, True, True]]  # above the least


def test_the_largest_are_larger_than_asked(ops, dtype):
    values = ops.asarray(np.array([[0, 2, 1, -1], [3, 0, 0, 0]], dtype=dtype))
    chosen = ops.to_numpy(largest(ops, values, 3, above=0.0)).tolist()
    assert chosen == [[False, True, True, False], [True, False, False, False]]
    assert ops.to_numpy(largest(ops, values, 3, above=0.5)).tolist() == chosen


def test_a_sink_may_draw_little(ops):
    """All that counts is that it keeps less: on a grid of hundreds of patches each draws some thousandths."""
    attention = np.zeros((1, 1, 3, 3), dtype="float32")
    attention[0, 0, 0] = [0.99, 0.004, 0.002]
    attention[0, 0, 1, 1], attention[0, 0, 2, 2] = 0.005, 0.9
    assert ops.to_numpy(attention_sinks(ops, attention, 10, 0.3, 5.0)).tolist() == [[True, False]]


def test_what_finds_outliers_takes_the_published_values_unless_told():
    published = SCCLIP | SFP
    parameters = [p for p in inspect.signature(find_outliers).parameters.values() if p.default is not p.empty]
    assert len(parameters) == 6
    assert {p.name: p.default for p in parameters} == {p.name: published[p.name] for p in parameters}
    (scores, contamination) = list(inspect.signature(outlier_mask).parameters.values())[1:]
    assert scores.default is scores.empty and contamination.default == SCCLIP["contamination"]


@pytest.mark.parametrize("options", [{"pre_layer": 11}, {"post_layer": 11}, {"multi_layers": (3, 11)}])
def test_a_layer_that_is_not_there_is_told(features, options):
    """The tower has 12 blocks; the last is the methods' own, so 0 to 10 can be read."""
    for method in ("scclip", "sfp"):
        with pytest.raises(InputError, match="has blocks 0 to 10 before its last, so layer 11 is not there"):
            patch_embeddings(features, method, **options)


def test_the_first_and_the_last_layer_are_there(features):
    edges = patch_embeddings(features, "sfp", pre_layer=0, post_layer=10, multi_layers=(0, 10))
    assert np.abs(edges - patch_embeddings(features, "sfp")).max() > 1e-3


@pytest.mark.parametrize("value", [(3,), (3, 9, 10), (3, "9"), (3.5, 9), (3, True), "39", 7, None])
def test_two_layers_are_two_whole_numbers(value):
    with pytest.raises(InputError, match=r"option multi_layers of scclip must be like the published \(3, 9\)"):
        resolve_options("scclip", {"multi_layers": value})
    assert resolve_options("scclip", {"multi_layers": [2, 4]})["multi_layers"] == [2, 4]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_what_counts_as_rounding_grows_with_the_lengths(ops, dtype, rng, scale):
    """Doubles lie at 0, and a pair that is a hundredth of its length apart does not, in whatever unit the points are."""
    x = rng.standard_normal((20, 8))
    x[1] = x[0]
    x[3] = x[2] * 1.01
    distances, indices = (ops.to_numpy(part) for part in ops.nearest_neighbours((x * scale).astype(dtype), 2))
    assert distances[:2, 0].tolist() == [0, 0] and indices[:4, 0].tolist() == [1, 0, 3, 2]
    expected = np.sum((0.01 * x[2] * scale) ** 2)
    np.testing.assert_allclose(distances[2:4, 0], expected, rtol=2e-2 if dtype == "float32" else 1e-9)


def test_neighbours_far_from_the_origin_lose_nothing_to_cancellation(ops, rng):
    """Each axis is far out, by another amount, so that the mean over all of them is 0: each must be centred by its own."""
    x = rng.standard_normal((30, 4)) + np.array([1e4, -1e4, 2e4, -2e4])
    x = x.astype("float32")
    distances, indices = (ops.to_numpy(part) for part in ops.nearest_neighbours(x, 3))
    exact = np.square(x[:, None].astype("float64") - x[None]).sum(axis=-1)
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_array_equal(indices, np.argsort(exact, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 4, 0), (1, 2, 0, 4), (1, 2, 4, 0), (4,)])
def test_a_field_without_places_is_told(ops, shape):
    for resize in (ops.resize_bilinear, ops.resize_bicubic):
        with pytest.raises(InputError, match="every side must be at least 1"):
            resize(np.zeros(shape, dtype="float32"), (3, 3))


def test_rows_in_blocks():
    def blocks(*arguments):
        return [(rows.start, rows.stop) for rows in row_blocks(*arguments)]

    assert blocks(5, 2, 4) == [(0, 2), (2, 4), (4, 5)]
    assert blocks(4, 1, 2) == [(0, 2), (2, 4)]
    assert blocks(3, 10, 4) == [(0, 1), (1, 2), (2, 3)]  # a row that is more than a block
    assert blocks(3, 0, 2) == [(0, 2), (2, 3)] and blocks(0, 5, 4) == []


@pytest.mark.parametrize(("record", "name"), [
    (METHODS["naclip"], "pamr"), (PARTS["fsa"], "options"), (Given(), "repair"), (View((8, 8), ((0, 0, 8, 8),)), "size"),
    (feedback.Feedback(True, True, True, 3.0, 0.45), "mass"),
])  # fmt: skip
def test_records_stay_as_they_were_made(record, name):
    with pytest.raises(FrozenInstanceError):
        setattr(record, name, None)
