"""FSA's steps against loops."""

import math
from dataclasses import replace
from functools import partial

import naive
import numpy as np
import pytest
from compare import assert_close

import core.methods.feedback
from core.backends import load_backend
from core.methods.affinity import aggregate, contrast_attention, cosine_similarity, keep_similar
from core.methods.feedback import (
    Feedback,
    corrected_rows,
    feed_back,
    guarded_log,
    kl_divergence,
    patch_prediction,
    weigh,
)

PUBLISHED = Feedback(isolate=True, prune=True, ensemble=True, sharpness=3.0, mass=0.45)


def distribution(rng, *shape):
    p = rng.exponential(size=shape)
    return p / p.sum(-1, keepdims=True)


def test_kl_against_loops(ops, rng):
    p, q = distribution(rng, 1, 4, 6), distribution(rng, 1, 5, 6)
    expected = np.array([[sum(a * (math.log(a + 1e-10) - math.log(b + 1e-10)) for a, b in zip(x, y, strict=True))
                          for y in q[0]] for x in p[0]])  # fmt: skip
    p, q = ops.asarray(p), ops.asarray(q)
    assert_close(kl_divergence(ops, p, guarded_log(ops, p), guarded_log(ops, q)), np.maximum(expected, 0)[None])


def naive_links(row, sharpness, mass):
    similarity = [1 / (1 + divergence) for divergence in row]
    weakest, held, total = max(similarity), 0.0, sum(map(math.exp, similarity))
    for s in sorted(similarity, reverse=True):
        held += math.exp(s) / total
        if mass is None or held <= mass:
            weakest = s
    e = [math.exp(s * math.exp(sharpness * s)) if s >= weakest else 0 for s in similarity]
    return [x / sum(e) for x in e]


@pytest.mark.parametrize("mass", [None, 0.0, 0.1, 0.45, 0.99])
def test_links_against_loops(ops, rng, mass):
    divergence = rng.exponential(size=(2, 5, 9))
    divergence[0, 0] = [0, 9, 9, 9, 9, 9, 9, 9, 9]
    expected = [[naive_links(list(row), 3.0, mass) for row in image] for image in divergence]
    weights = ops.to_numpy(ops.link_weights(divergence, 3.0, mass))
    assert_close(weights, np.array(expected))
    assert ((weights > 0) == (np.array(expected) > 0)).all()


def test_links_that_hold_just_the_mass_stay(rng):
    """At most this share, that share included: NumPy's own sum of the three strongest, to the last digit."""
    ops, divergence = load_backend("numpy"), rng.exponential(size=7)
    shares = np.cumsum(ops.softmax(-np.sort(-1 / (1 + divergence))))
    assert (ops.link_weights(divergence, 3.0, float(shares[2])) > 0).sum() == 3
    assert (ops.link_weights(divergence, 3.0, float(np.nextafter(shares[2], 0))) > 0).sum() == 2


def test_equal_links_stay_or_go_together(ops, rng):
    divergence = rng.permuted(np.repeat([0.1, 0.5, 2.0, 8.0], 25)[None], axis=-1)
    weights = ops.to_numpy(ops.link_weights(divergence, 3.0, 0.45))[0]
    kept = {value: set(weights[divergence[0] == value] > 0) for value in (0.1, 0.5, 2.0, 8.0)}
    assert kept == {0.1: {True}, 0.5: {True}, 2.0: {False}, 8.0: {False}}


def test_what_rounding_leaves_between_equal_predictions_parts_no_links(ops, rng, dtype):
    """Patches predicted alike diverge by some 1e-17, or 1e-9: all of them stay, whatever the order they come in."""
    divergence = np.concatenate([np.finfo(dtype).eps / 16 * rng.random((4, 50)), np.full((4, 27), 3.0)], axis=-1)
    weights = ops.to_numpy(ops.link_weights(rng.permuted(divergence, axis=-1).astype(dtype), 3.0, 0.45))
    assert ((weights > 0).sum(axis=-1) == 50).all()


@pytest.mark.parametrize("n", [1, 3, 2000])
def test_links_that_crowd_in_few_values(ops, rng, n):
    """Where nearly all links are alike, the edge of the mass lies among very near ones: it must still part them exactly."""
    divergence = np.concatenate([5 + 1e-9 * rng.random((3, n)), np.full((3, 2), 1e-3), np.full((3, 1), 1e12)], axis=-1)
    weights = ops.to_numpy(ops.link_weights(divergence, 3.0, 0.6))
    expected = [naive_links(list(row), 3.0, 0.6) for row in divergence]
    assert ((weights > 0) == (np.array(expected) > 0)).all()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_no_number_spoils_its_row_alone(ops, dtype):
    divergence = np.array([[0.5, np.nan, 1.0, 2.0], [0.5, 0.1, 1.0, 2.0], [np.nan] * 4], dtype=dtype)
    alone = [ops.to_numpy(ops.link_weights(row, 3.0, 0.45)) for row in divergence]
    assert_close(ops.to_numpy(ops.link_weights(divergence, 3.0, 0.45))[1], alone[1])
    assert [row.shape for row in alone] == [(4,)] * 3


def test_no_rows_have_no_links(ops):
    assert ops.to_numpy(ops.link_weights(np.ones((2, 0, 4)), 3.0, 0.45)).shape == (2, 0, 4)


def test_the_size_of_a_block_changes_nothing(ops, rng, monkeypatch):
    p = ops.asarray(distribution(rng, 2, 11, 5))
    (whole,) = corrected_rows(ops, p, PUBLISHED)
    monkeypatch.setattr(core.methods.feedback, "BLOCK_ENTRIES", 50)
    blocks = [ops.to_numpy(rows) for rows in corrected_rows(ops, p, PUBLISHED)]
    assert len(blocks) == 6
    assert_close(np.concatenate(blocks, axis=2), ops.to_numpy(whole))


def test_corrected_attention_sums_to_one_and_favours_like_predictions(ops):
    p = np.array([[[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]])
    (attention,) = corrected_rows(ops, ops.asarray(p), replace(PUBLISHED, prune=False))
    attention = ops.to_numpy(attention)[0, 0]
    np.testing.assert_allclose(attention.sum(-1), 1)
    assert attention[0, 1] > attention[0, 2]
    np.testing.assert_allclose(attention[0, 1], attention[0, 0])


@pytest.mark.parametrize("n_heads", [1, 2])
def test_the_ensemble_against_matrices(ops, rng, n_heads):
    attention = distribution(rng, 1, n_heads, 4, 4)
    values = rng.standard_normal((1, 4, 6))
    text = ops.asarray(rng.standard_normal((5, 6)))
    arguments = ops.asarray(attention), partial(weigh, ops, v=ops.asarray(values)), partial(ops.inner_products, b=text)
    fed = feed_back(ops, *arguments, PUBLISHED)
    out, new = ops.to_numpy(fed.values), ops.to_numpy(fed.corrected())
    heads = values.reshape(4, n_heads, -1).transpose(1, 0, 2)
    expected = (new @ attention + attention @ new + new) @ heads[None] / 3
    assert_close(out[0], expected[0].transpose(1, 0, 2).reshape(4, 6))


def test_the_prediction_is_isolated_from_the_mean(ops, rng):
    """FSA's constants: 20 times the patch's own cosines less 35 times the mean value's (METHODS, FSA; the authors' code)."""
    own, mean = rng.uniform(-0.3, 0.3, (1, 3, 4)), rng.uniform(-0.3, 0.3, (1, 1, 4))
    expected = [naive.softmax([20 * z - 35 * u for z, u in zip(row, mean[0, 0], strict=True)]) for row in own[0]]
    assert_close(ops.to_numpy(patch_prediction(ops, ops.asarray(own), ops.asarray(mean)))[0], np.array(expected))
    expected = [naive.softmax([20 * z for z in row]) for row in own[0]]
    assert_close(ops.to_numpy(patch_prediction(ops, ops.asarray(own), None))[0], np.array(expected))


def test_similar_enough_is_at_least_beta(ops, dtype):
    """SC-CLIP, section 3.3: what lies below beta is dropped, and beta itself is kept."""
    similarity = np.array([[[1.0, 0.5, 0.25], [0.5, 1.0, 0.4999], [0.25, 0.4999, 1.0]]], dtype=dtype)
    kept = ops.to_numpy(keep_similar(ops, ops.asarray(similarity), 0.5))
    np.testing.assert_array_equal(kept, np.where(similarity >= 0.5, similarity, 0))


def test_content_attention_against_loops(ops, rng):
    patches = rng.standard_normal((2, 6, 4))
    similarity = ops.to_numpy(cosine_similarity(ops, ops.asarray(patches)))
    attention = ops.to_numpy(contrast_attention(ops, ops.asarray(similarity), gamma=3.0, beta=1.2))
    for b in range(2):
        mean = np.mean([[patches[b, i] @ patches[b, j] / np.linalg.norm(patches[b, i]) / np.linalg.norm(patches[b, j])
                         for i in range(6)] for j in range(6)])  # fmt: skip
        for i in range(6):
            logits = [3 * (similarity[b, i, j] - 1.2 * mean) for j in range(6)]
            e = [math.exp(x) if x >= 0 else 0.0 for x in logits]
            np.testing.assert_allclose(attention[b, 0, i], np.array(e) / sum(e), rtol=1e-9)


def test_aggregation_by_hand(ops):
    similarity = ops.asarray(np.array([[[1.0, 0.5], [0.3, 1.0]]]))
    kept = keep_similar(ops, similarity, 0.4)
    out = ops.to_numpy(aggregate(ops, ops.asarray(np.array([[[1.0], [4.0]]])), kept))
    np.testing.assert_allclose(out[0, :, 0], [3 / 1.500001, 4 / 1.000001])


def test_a_row_without_a_link_above_the_mean_keeps_its_best(ops):
    """All alike: with beta 1.2 everything is below the mean, where a careless softmax gives NaN."""
    attention = ops.to_numpy(contrast_attention(ops, ops.asarray(np.ones((1, 3, 3))), beta=1.2))
    np.testing.assert_allclose(attention, 1 / 3)


@pytest.mark.parametrize("mass", [None, 0.45])
def test_links_let_gradients_through(mass):
    torch = pytest.importorskip("torch")
    divergence = torch.rand(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: load_backend("torch").link_weights(x, 3.0, mass), divergence)
